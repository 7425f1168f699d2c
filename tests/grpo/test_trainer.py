"""The update and the loop, with real models on a real engine."""

import contextlib
import dataclasses
import math

import pytest
import torch
from rich.console import Console

from grpo import trainer
from grpo.data import PromptStream
from grpo.errors import RunError, SyncError
from grpo.metrics import read_metrics
from grpo.rollout.hf import HfEngine
from grpo.rollout.transfer import checksum
from grpo.rows import read_items
from grpo.run import Run
from grpo.samples import read_samples, sample_files
from grpo.scoring import Scorer
from grpo.stages.rl import make_evaluate, open_prompts
from grpo.trainer import update
from grpo.types import Sampling
from grpo.view import PlainView

TEXTS = ["<answer>3</answer>", "12;<think>", "</think>", "7+7=14;3"]


@pytest.fixture
def groups(group_of, policy_of, recipe_of):
    """Two prompts of four completions, drawn (as far as their log-probs go) by the starting policy."""
    policy, _ = policy_of(recipe_of())
    made = []
    for text, advantages in (("1+2=", [1.0, -0.5, 0.0, -0.5]), ("8+9=", [0.5, 0.0, 0.5, -1.0])):
        group = group_of(text, TEXTS, advantages)
        rollouts = []
        for rollout in group.rollouts:
            ids = [*rollout.prompt_ids, *rollout.token_ids]
            drawn = policy.sequence_logprobs([ids])[0][len(rollout.prompt_ids) - 1 :]
            rollouts.append(dataclasses.replace(rollout, logprobs=tuple(drawn)))
        made.append(dataclasses.replace(group, rollouts=tuple(rollouts)))
    return made


def logprobs(policy, groups):
    """Summed log-prob of each completion."""
    rows = [[(r.prompt_ids, r.prompt_ids + r.token_ids) for r in group.rollouts] for group in groups]
    return [
        [sum(policy.sequence_logprobs([both])[0][len(prompt) - 1 :]) for prompt, both in row] for row in rows
    ]


def after(policy_of, recipe, groups):
    """The policy one update later, and the metrics."""
    policy, reference = policy_of(recipe)
    terms = update(policy, reference, groups, recipe, step=0)
    return policy, terms


def weights(policy):
    return torch.cat([tensor.detach().flatten() for _, tensor in policy.named_masters()])


def same_step(policy, other):
    """Whether two policies had the same gradient, and took the same step with it.

    AdamW's first moments are, after one step, a tenth of the clipped gradient. The step divides a weight's
    gradient by its size: of one next to nothing, rounding sets the sign, and only there weights may differ.
    """
    moments, others = first_moments(policy), first_moments(other)
    clear = (moments.abs() > 1e-6) | ((moments == 0) & (others == 0))
    assert clear.float().mean() > 0.99
    return torch.allclose(moments, others, rtol=1e-4, atol=1e-7) and torch.allclose(
        weights(policy)[clear], weights(other)[clear], atol=1e-5
    )


def first_moments(policy):
    state = policy.optimizer.state
    return torch.cat([state[tensor]["exp_avg"].flatten() for _, tensor in policy.named_masters()])


@pytest.mark.parametrize("preset", ["grpo", "dr_grpo", "dapo", "rloo"])
def test_what_was_good_becomes_likelier(policy_of, recipe_of, groups, preset):
    recipe = recipe_of(f"algorithm.preset={preset}", "train.lr=0.002")
    before = logprobs(policy_of(recipe)[0], groups)
    policy, terms = after(policy_of, recipe, groups)
    gained = [
        [new - old for new, old in zip(*rows, strict=True)]
        for rows in zip(logprobs(policy, groups), before, strict=True)
    ]
    for group, gains in zip(groups, gained, strict=True):
        best, worst = max(group.advantages), min(group.advantages)
        assert gains[group.advantages.index(best)] > 0.01
        assert gains[group.advantages.index(worst)] < -0.01
    assert terms["policy/ratio_max"] == 1.0
    assert terms["mismatch/kl"] < 1e-9
    assert policy.version == 1


def test_chunks_of_any_size_give_the_same_step(policy_of, recipe_of, groups):
    whole, terms = after(policy_of, recipe_of("train.token_budget=10000"), groups)
    for budget in (9, 40):
        parts, other = after(policy_of, recipe_of(f"train.token_budget={budget}"), groups)
        assert same_step(whole, parts)
        assert other["loss"] == pytest.approx(terms["loss"], abs=1e-6)
        assert other["grad_norm"] == pytest.approx(terms["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("preset", ["grpo", "dr_grpo", "dapo"])
def test_leaving_out_zero_advantages_changes_nothing(policy_of, recipe_of, groups, preset, monkeypatch):
    recipe = recipe_of(f"algorithm.preset={preset}")
    skipped, _ = after(policy_of, recipe, groups)
    pack, seen = trainer.pack, []

    def keep_all(groups, **options):
        seen.append(options.pop("skip_zero_advantage"))
        return pack(groups, **options, skip_zero_advantage=False)

    monkeypatch.setattr(trainer, "pack", keep_all)
    kept, _ = after(policy_of, recipe, groups)
    assert seen == [True]
    assert same_step(skipped, kept)
    # but for a KL or an entropy bonus, which act on them too
    after(policy_of, recipe_of("algorithm.kl.coef=0.1"), groups)
    after(policy_of, recipe_of("algorithm.entropy=0.1"), groups)
    assert seen == [True, False, False]


def test_groups_without_a_difference_make_no_optimiser_step(policy_of, recipe_of, groups):
    flat = [dataclasses.replace(group, advantages=(0.0,) * 4) for group in groups]
    start = weights(policy_of(recipe_of())[0])
    policy, terms = after(policy_of, recipe_of("train.weight_decay=0.1"), flat)
    assert torch.equal(weights(policy), start)
    assert policy.optimizer.state_dict()["state"] == {}
    assert "grad_norm" not in terms
    assert policy.version == 1


def test_old_log_probs_are_those_before_any_step(policy_of, recipe_of, groups, monkeypatch):
    recipe = recipe_of("train.minibatches=2", "train.lr=0.05")
    start, _ = policy_of(recipe)
    filled = []
    with_old = trainer.with_old_logprobs
    monkeypatch.setattr(
        trainer, "with_old_logprobs", lambda *args: filled.append(with_old(*args)) or filled[0]
    )
    policy, terms = after(policy_of, recipe, groups)
    first, second = filled[0]
    assert all(chunk.old is None for chunk in first.chunks)
    for chunk in second.chunks:
        expected = start.logprobs(chunk)[0].detach()
        assert torch.allclose(chunk.old, expected, atol=1e-6)
        now = policy.logprobs(chunk)[0].detach()
        assert (now - chunk.old).abs().max() > 0.1  # taken after the first step it would be near
    assert terms["policy/ratio_max"] > 1.01  # the second step is off-policy
    assert policy.version == 1


def test_two_minibatches_are_two_steps(policy_of, recipe_of, groups):
    recipe = recipe_of("train.minibatches=2")
    policy, _ = after(policy_of, recipe, groups)
    states = policy.optimizer.state_dict()["state"].values()
    assert {float(state["step"]) for state in states} == {2.0}


def test_an_entropy_bonus_raises_the_entropy(policy_of, recipe_of, groups):
    recipe = recipe_of("algorithm.entropy=1.0", "train.lr=0.002")
    flat = [dataclasses.replace(group, advantages=(0.0,) * 4) for group in groups]
    policy, terms = after(policy_of, recipe, flat)
    assert update(policy, None, flat, recipe, step=1)["policy/entropy"] > terms["policy/entropy"]


@pytest.fixture
def loop(recipe_of, policy_of, base, tokenizer, tmp_path):
    """loop(engine class, *overrides): runs trainer.train on that engine and gives the run."""

    def run(kind=HfEngine, *overrides):
        rule = tmp_path / "rule.py"
        rule.write_text("def short(completions): return [-len(c) for c in completions]")
        recipe = recipe_of(f"rewards=[{{rule: {rule}:short}}]", "rollout.group_size=3", *overrides)
        policy, reference = policy_of(recipe)
        with Scorer(recipe.rewards, workers=1) as scorer:
            items = read_items(recipe.data, seed=0)
            splits, sets = open_prompts(recipe, items, base, tokenizer, scorer)
            run = Run(recipe, PlainView(Console(quiet=True)), None)
            sampling = Sampling(max_tokens=recipe.rollout.max_tokens)
            with kind(base, dtype="float32", context=64, version=0) as engine:
                trainer.train(
                    recipe,
                    run,
                    engine,
                    PromptStream(splits.train, 0),
                    [prompt.token_ids for prompt in splits.train[:4]],
                    scorer,
                    policy,
                    reference,
                    sampling,
                    make_evaluate(recipe, scorer, splits, sets, [], sampling),
                )
                assert engine.version == recipe.train.steps
        return run, policy

    return run


def test_the_loop_trains_records_and_syncs_every_step(loop):
    run, policy = loop()
    rows = read_metrics(run.folder)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert policy.version == run.done == 4
    for row in rows[1:]:
        assert row["staleness/mean"] == 0.0  # versions of the tokens are those of the weights
        assert row["mismatch/max"] < 1e-4  # and so are their log-probs
        assert row["mismatch/sync_max"] < 1e-4
        assert {"reward/short", "loss", "grad_norm", "lr", "time/rollout", "time/sync"} <= set(row)
    assert rows[-1]["completions/mean_length"] > 0


class DeafEngine(HfEngine):
    """Claims every update after the ones of the start, and loads none."""

    def update_weights(self, weights, version):
        if version == 0:
            return super().update_weights(weights, version)
        self._version = version
        return {name: checksum(tensor) for name, tensor in weights}


def test_an_engine_that_stays_behind_stops_the_run(loop):
    with pytest.raises(SyncError, match="do not hold the same weights"):
        loop(DeafEngine)


class TiredEngine(HfEngine):
    """Notes what is asked of it; to rest is to be asked for nothing."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked, self.is_resting = [], False

    @contextlib.contextmanager
    def resting(self):
        self.is_resting = True
        yield
        self.is_resting = False
        self.asked.append("rested")

    def _note(self, what):
        assert not self.is_resting
        self.asked.append(what)

    def submit(self, requests):
        self._note("submit")
        super().submit(requests)

    def update_weights(self, weights, version):
        self._note(f"weights {version}")
        TiredEngine.seen = self.asked
        return super().update_weights(weights, version)


def test_the_engine_rests_during_the_update_and_wakes_for_the_weights(loop):
    loop(TiredEngine, "train.steps=2", "eval.every=2")
    asked = TiredEngine.seen
    first = asked.index("rested")
    assert asked[first - 1 : first + 2] == ["submit", "rested", "weights 1"]
    assert asked.count("rested") == 2


def test_shuffled_rewards_are_other_rewards(loop, tmp_path):
    import pyarrow.parquet as pq

    run, _ = loop(HfEngine, "train.shuffle_rewards=true", "train.steps=2")
    rows = pq.read_table(run.folder / "samples" / "step-000001.parquet").to_pylist()
    assert sorted(row["score/short"] for row in rows) == sorted(row["reward"] for row in rows)
    assert [row["score/short"] for row in rows] != [row["reward"] for row in rows]
    assert all(row["score/short"] == -len(row["completion"]) for row in rows)


def test_a_rule_that_mostly_fails_stops_the_run(loop, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(
        "def late(completions, trainer_state):\n"
        "    return [1 / 0 if trainer_state and trainer_state.global_step else 1.0 for _ in completions]\n"
    )
    with pytest.raises(RunError, match=r"step 2: 100% of the completions could not be graded"):
        loop(HfEngine, f"rewards=[{{rule: {bad}:late}}]")
    one, two = (read_samples(path) for path in sample_files(tmp_path / "run"))
    assert {row["status/late"] for row in one} == {"ok"}  # the failing step does not take its file's place
    assert {row["status/late"] for row in two} == {"error"}


@pytest.mark.parametrize(("policy", "reward"), [("exclude", None), ("zero", 0.0), ("stop", None)])
def test_what_a_rule_that_raises_costs_reaches_the_update(loop, tmp_path, policy, reward):
    bad = tmp_path / "bad.py"
    bad.write_text("def odd(completions):\n    return [1 / (len(c) % 2) for c in completions]\n")
    overrides = f"rewards=[{{rule: {bad}:odd}}]", f"train.on_rule_error={policy}", "train.max_ungraded=1"
    if policy == "stop":
        with pytest.raises(RunError, match=r"^step 1: rule 'odd' raised on 1/\w+/\d: ZeroDivisionError"):
            loop(HfEngine, *overrides)
        return
    run, _ = loop(HfEngine, *overrides)
    rows = [row for path in sample_files(run.folder) for row in read_samples(path)]
    raised = [row for row in rows if row["status/odd"] == "error"]
    assert raised
    assert {len(row["completion"]) % 2 for row in raised} == {0}
    assert {row["score/odd"] for row in raised} == {reward}
    assert {None if math.isnan(row["reward"]) else row["reward"] for row in raised} == {reward}
    assert [row["advantage"] < 0 for row in raised].count(True) == 0 or policy == "zero"
    if policy == "zero":
        assert any(row["advantage"] < 0 for row in raised)  # it teaches the policy to leave such rows
