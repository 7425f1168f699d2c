"""Two processes take the steps that one takes: losses, gradient norms and weights, sharded or not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
CLOSE = 1e-5
LAID_OUT = ("plain", "one_acts", "minibatches", "kl", "checkpointing", "bfloat16")
BROKEN = ("average", "deaf")


def load_updates():
    spec = importlib.util.spec_from_file_location("updates", HERE / "updates.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


updates = load_updates()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("updates")


@pytest.fixture(scope="session")
def alone(folder, base):
    """alone(case): what one process finds, and a checkpoint of it in folder/whole/step-3."""
    found = {}

    def run(case):
        if case not in found:
            recipe = updates.recipe_of(folder, base, *updates.CASES[case])
            found[case] = updates.run_case(recipe, case, folder=folder / "whole" if case == "plain" else None)
        return found[case]

    return run


@pytest.fixture(scope="session")
def together(folder, base, two_ranks, alone):
    """together("case/how"): what two processes find; one start for all of them."""
    alone("plain")  # for its checkpoint
    names = [*updates.CASES, *(f"{case}/fsdp2" for case in LAID_OUT), *(f"plain/{how}" for how in BROKEN)]
    names += ["plain/resume", "plain/resume-fsdp2"]
    ended = two_ranks(str(HERE / "updates.py"), base, str(folder), *names)
    assert [code for code, _, _ in ended] == [0, 0], ended
    return lambda name: torch.load(folder / f"{name.replace('/', '-')}.pt")


def distance(ours, theirs):
    """Largest difference of any weight, and of any metric of any step but how its chunks were filled."""
    weights = max(float((ours["weights"][n] - w).abs().max()) for n, w in theirs["weights"].items())
    metrics = [
        abs(one[name] - other[name]) / max(1.0, abs(other[name]))
        for one, other in zip(ours["terms"], theirs["terms"], strict=True)
        for name in other
        if not name.startswith("packing/")
    ]
    return weights, max(metrics, default=0.0)


@pytest.mark.parametrize("case", updates.CASES)
def test_two_ranks_do_what_one_does(together, alone, case):
    ours, theirs = together(case), alone(case)
    assert [set(terms) for terms in ours["terms"]] == [set(terms) for terms in theirs["terms"]]
    assert max(distance(ours, theirs)) < (CLOSE if case != "bfloat16" else 1e-2)
    assert ours["sharded"] == 0


@pytest.mark.parametrize("case", LAID_OUT)
def test_and_so_do_two_that_hold_half_of_the_weights_each(together, alone, case):
    ours = together(f"{case}/fsdp2")
    assert max(distance(ours, alone(case))) < (CLOSE if case != "bfloat16" else 1e-2)
    assert ours["sharded"] == len(ours["weights"])


def test_cases_are_what_they_are_for(alone):
    """Steps are taken, except where there is nothing to learn; cases differ."""
    norms = {case: [terms.get("grad_norm") for terms in alone(case)["terms"]] for case in updates.CASES}
    assert norms.pop("all_flat") == [None] * 5
    assert all(norm > 1e-3 for case in norms.values() for norm in case)
    assert "policy/kl" in alone("kl")["terms"][0]
    assert max(terms["policy/ratio_max"] for terms in alone("minibatches")["terms"]) > 1.0001


def test_averaged_gradients_would_be_seen(together, alone):
    broken = together("plain/average")
    assert max(distance(broken, alone("plain"))) > 100 * CLOSE
    assert broken["terms"][0]["grad_norm"] == pytest.approx(
        alone("plain")["terms"][0]["grad_norm"] / 2, rel=1e-4
    )


def test_a_rank_that_does_not_take_the_sum_would_be_seen(together, alone):
    from grpo.errors import SyncError
    from grpo.rollout.sync import compare_ranks
    from grpo.rollout.transfer import checksum

    sums = [
        {name: checksum(tensor) for name, tensor in weights.items()}
        for weights in together("plain/deaf")["every"]
    ]
    with pytest.raises(
        SyncError, match=r"the processes hold different weights: model\.\S+ of rank 1 \(\d+ of"
    ):
        compare_ranks(sums[0], sums[1], 1)
    whole = [{name: checksum(t) for name, t in w.items()} for w in together("plain/average")["every"]]
    compare_ranks(whole[0], whole[1], 1)  # which is wrong on both ranks alike


def names_in(checkpoint):
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        return sorted(file.keys())


@pytest.mark.parametrize("how", ["plain", "plain-fsdp2"])
def test_a_checkpoint_of_several_ranks_is_a_whole_one(together, alone, folder, base, how):
    together("plain")
    checkpoint = folder / how / "step-3"
    assert names_in(checkpoint) == names_in(folder / "whole" / "step-3")
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    expected = AutoModelForCausalLM.from_pretrained(folder / "whole" / "step-3").state_dict()
    assert {n: t.shape for n, t in model.state_dict().items()} == {n: t.shape for n, t in expected.items()}
    assert all((t - expected[n]).abs().max() < CLOSE for n, t in model.state_dict().items())
    # and one process goes on from it as from its own, optimiser included
    recipe = updates.recipe_of(folder, base)
    ours = updates.resume_case(recipe, "plain", checkpoint)
    theirs = alone("plain")
    assert max(distance(ours, {**theirs, "terms": theirs["terms"][3:]})) < CLOSE


@pytest.mark.parametrize("how", ["resume", "resume-fsdp2"])
def test_two_ranks_go_on_from_the_checkpoint_of_one(together, alone, how):
    ours, theirs = together(f"plain/{how}"), alone("plain")
    assert max(distance(ours, {**theirs, "terms": theirs["terms"][3:]})) < CLOSE


def test_without_the_optimiser_state_it_would_be_seen(together, alone, folder, base):
    together("plain")
    checkpoint = folder / "plain" / "step-3"
    recipe = updates.recipe_of(folder, base)
    policy, reference = updates.load_policy(recipe, checkpoint, base, updates.load_tokenizer(base))
    policy.version = 3
    terms = updates.take_steps(policy, reference, recipe, "plain", range(3, 5))
    theirs = alone("plain")
    ours = {"terms": terms, "weights": updates.weights_of(policy)}
    assert max(distance(ours, {**theirs, "terms": theirs["terms"][3:]})) > 5 * CLOSE
