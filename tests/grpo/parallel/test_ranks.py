"""What a rank knows of itself and of the others, without starting any."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch

from grpo.errors import SyncError, UserError
from grpo.packing import pack
from grpo.parallel.launch import child_environment, local_count, process_count, process_rank
from grpo.parallel.ranks import ALONE, Ranks, check_processes, reward_workers
from grpo.rollout.sync import compare_ranks
from grpo.tally import Tally

LAUNCHED = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "host",
    "MASTER_PORT": "1",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "PATH": "x",
}


def test_without_a_launcher_a_process_is_alone(monkeypatch):
    for name in LAUNCHED:
        if name != "PATH":
            monkeypatch.delenv(name, raising=False)
    assert (process_count(), process_rank(), local_count(), reward_workers()) == (1, 0, 1, None)
    monkeypatch.setenv(
        "WORLD_SIZE", "8"
    )  # left over from something else: it takes a rank to be one of several
    assert process_count() == 1


def test_a_launcher_says_who_it_is(monkeypatch):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert (process_count(), process_rank(), local_count()) == (4, 3, 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert reward_workers() == 2
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert reward_workers() == 1


def test_children_are_no_ranks_and_see_one_gpu():
    assert child_environment(LAUNCHED) == {"LOCAL_WORLD_SIZE": "2", "PATH": "x", "CUDA_VISIBLE_DEVICES": "1"}
    assert child_environment(LAUNCHED | {"CUDA_VISIBLE_DEVICES": "4,6"})["CUDA_VISIBLE_DEVICES"] == "6"
    assert child_environment({"PATH": "x"}) == {"PATH": "x"}


def test_an_engine_on_another_gpu_sees_that_one_alone():
    """`cuda:N` counts the GPUs that the parent sees, whatever their own numbers."""
    assert child_environment({}, "cuda:1") == {"CUDA_VISIBLE_DEVICES": "1"}
    assert child_environment({"CUDA_VISIBLE_DEVICES": "4,GPU-6"}, "cuda:1")["CUDA_VISIBLE_DEVICES"] == "GPU-6"
    assert child_environment(LAUNCHED, "cuda:7")["CUDA_VISIBLE_DEVICES"] == "7"


def test_one_gpu_is_not_the_engine_of_every_process(recipe_of):
    given = ("rollout.engine=vllm", "rollout.device=cuda:2")
    with pytest.raises(UserError, match=r"rollout.device: the engines of 2 .*cuda:2.*engines: shared"):
        check_processes(recipe_of(*given), 2)
    check_processes(recipe_of(*given), 1)
    check_processes(recipe_of(*given, "rollout.engines=shared"), 2)


def test_a_trainers_gpu_is_not_the_engines(recipe_of, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    given = ("rollout.engine=vllm", "rollout.engines=shared")
    with pytest.raises(UserError, match=r"rollout.device: cuda:1 is a trainer's.*Write cuda:2"):
        check_processes(recipe_of(*given, "rollout.device=cuda:1"), 2)
    check_processes(recipe_of(*given, "rollout.device=cuda:2"), 2)


@pytest.mark.parametrize("drawing", [1, 3, 4])
def test_shares_are_all_in_order(drawing):
    prompts = list(range(10))
    shares = [Ranks(rank, 4, drawing).share(prompts) for rank in range(4)]
    assert [prompt for share in shares for prompt in share] == prompts
    assert [len(share) for share in shares[drawing:]] == [0] * (4 - drawing)
    assert max(map(len, shares[:drawing])) - min(map(len, shares[:drawing])) <= 1


def test_processes_must_divide_the_prompts_where_each_draws(recipe_of):
    check_processes(recipe_of("train.prompts_per_step=6"), 3)
    with pytest.raises(UserError, match=r"4 processes do not divide the 6 prompts of a step\. Take 8"):
        check_processes(recipe_of("train.prompts_per_step=6"), 4)
    check_processes(recipe_of("train.prompts_per_step=6", "rollout.engines=shared"), 4)


def test_completions_are_dealt_by_tokens_once_each_in_equal_numbers_of_chunks(group_of):
    drawn = random.Random(0)
    groups = [
        group_of(f"{p}+1=", ["1" * drawn.choice([1, 5, 40]) for _ in range(4)], [1.0, 0.0, -1.0, 0.5])
        for p in range(6)
    ]
    options = {
        "minibatches": 2,
        "token_budget": 60,
        "max_tokens": 64,
        "skip_zero_advantage": True,
        "mask_truncated": False,
    }
    whole = pack(groups, **options)
    for count in (2, 3, 20):
        parts = [pack(groups, **options, ranks=Ranks(rank, count)) for rank in range(count)]
        for step, batch in enumerate(whole):
            shares = [part[step] for part in parts]
            assert {share.totals for share in shares} == {batch.totals}
            assert len({len(share.chunks) for share in shares}) == 1
            tokens = [sum(len(chunk.predicted) for chunk in share.chunks) for share in shares]
            assert sum(tokens) == sum(len(chunk.predicted) for chunk in batch.chunks)
            packed = [sum(len(chunk.token_ids) for chunk in share.chunks) for share in shares]
            assert max(packed) - min(packed) <= 60 or count == 20
            weights = [sum(float(chunk.advantages.sum()) for chunk in share.chunks) for share in shares]
            expected = sum(float(chunk.advantages.sum()) for chunk in batch.chunks)
            assert sum(weights) == pytest.approx(expected, abs=1e-4)
    flat = [dataclasses.replace(group, advantages=(0.0,) * 4) for group in groups]
    assert [batch.chunks for batch in pack(flat, **options, ranks=Ranks(1, 2))] == [(), ()]


class Heard(Ranks):
    """A rank to whom the others say what they are told to say."""

    def exchange(self, value):
        return [value, self.others]


def test_metrics_are_of_all_ranks():
    ours = Tally(2)
    ours.add("mean", torch.tensor([1.0, 2.0]))
    ours.peak("peak", torch.tensor([1.0]))
    ours.total("loss", torch.tensor(3.0))
    assert ours.values(ALONE) == {"mean": 1.5, "peak": 1.0, "loss": 1.5}
    ranks = Heard(0, 2, 2)
    object.__setattr__(
        ranks, "others", [{"mean": 6.0, "only": 4.0}, {"mean": 1.0, "only": 2.0}, {"peak": 7.0}, {}]
    )
    assert ours.values(ranks) == {"mean": 3.0, "only": 2.0, "peak": 7.0, "loss": 1.5}


def test_ranks_with_other_weights_are_named():
    compare_ranks({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, 1)
    with pytest.raises(
        SyncError, match=r"the processes hold different weights: b of rank 3 \(1 of 2 tensors\)"
    ):
        compare_ranks({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, 3)
