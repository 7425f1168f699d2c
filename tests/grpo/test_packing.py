import random
from dataclasses import replace

import pytest
import torch

from grpo import packing
from grpo.attention import note_packing
from grpo.errors import RunError
from grpo.packing import check_chunk, pack, sequences_chunk, with_old_logprobs
from grpo.segments import LEAST_SHARED
from grpo.tally import Tally
from grpo.types import Group, Prompt, Rollout, Segment

OPTIONS = {
    "minibatches": 1,
    "token_budget": 64,
    "max_tokens": 32,
    "skip_zero_advantage": False,
    "mask_truncated": False,
}


def rollout(p: int, g: int, tokens: int, **fields) -> Rollout:
    rng = random.Random(f"{p}/{g}")
    values = {
        "prompt_id": f"p{p}",
        "sample": g,
        "prompt_ids": tuple(range(100 * p, 100 * p + 3 + p)),
        "token_ids": tuple(rng.randrange(1000, 2000) for _ in range(tokens)),
        "sampled": (True,) * tokens,
        "logprobs": tuple(-rng.random() for _ in range(tokens)),
        "versions": (7,) * tokens,
        "text": "",
        "finish_reason": "stop",
    }
    return Rollout(**{**values, **fields})


def group(p: int, rollouts: list[Rollout], advantages: list[float] | None = None) -> Group:
    prompt = Prompt(id=f"p{p}", prompt="", answer=None, text="", token_ids=())
    given = advantages if advantages is not None else [float(g + 1) for g in range(len(rollouts))]
    return Group(prompt=prompt, rollouts=tuple(rollouts), advantages=tuple(given))


def step() -> list[Group]:
    return [group(p, [rollout(p, g, 1 + (5 * p + 7 * g) % 11) for g in range(4)]) for p in range(5)]


def one_chunk(groups: list[Group], **options):
    (batch,) = pack(groups, **{**OPTIONS, "token_budget": 10_000, **options})
    (chunk,) = batch.chunks
    return chunk, batch.totals


def test_every_token_keeps_what_belongs_to_it():
    groups = step()
    chunk, totals = one_chunk(groups)
    expected = [
        (token, round(logprob, 5), advantage, len(r.token_ids))
        for one in groups
        for r, advantage in zip(one.rollouts, one.advantages, strict=True)
        for token, logprob in zip(r.token_ids, r.logprobs, strict=True)
    ]
    found = zip(
        chunk.token_ids[chunk.predicted].tolist(),
        [round(logprob, 5) for logprob in chunk.behaviour.tolist()],
        chunk.advantages.tolist(),
        chunk.completion_lengths[chunk.sequence].tolist(),
        strict=True,
    )
    assert sorted(found) == sorted(expected)
    assert (totals.sequences, totals.tokens, totals.max_tokens) == (20, len(expected), 32)
    assert chunk.versions.tolist() == [7] * len(expected)
    assert chunk.old is None


def test_a_group_holds_its_prompt_once():
    groups = step()
    chunk, _ = one_chunk(groups)
    completions = sum(len(r.token_ids) for one in groups for r in one.rollouts)
    assert len(chunk.token_ids) == sum(3 + p for p in range(5)) + completions
    assert sum(length for length, _ in chunk.segments) == len(chunk.token_ids) == len(chunk.positions)
    roots = [length for length, parent in chunk.segments if parent < 0]
    assert sorted(roots) == [3, 4, 5, 6, 7]


def test_what_all_prompts_begin_with_is_held_once():
    shots = tuple(range(500, 500 + LEAST_SHARED))
    groups = [
        group(p, [rollout(p, g, 4, prompt_ids=(*shots, *range(100 * p, 100 * p + 3))) for g in range(4)])
        for p in range(5)
    ]
    chunk, _ = one_chunk(groups)
    assert chunk.segments[0] == Segment(LEAST_SHARED)
    assert [parent for _, parent in chunk.segments].count(0) == 5  # the rest of each prompt
    assert len(chunk.token_ids) == LEAST_SHARED + 5 * (3 + 4 * 4)
    shorter = [replace(one, rollouts=tuple(replace(r, prompt_ids=r.prompt_ids[1:]) for r in one.rollouts))
               for one in groups]  # fmt: skip
    assert len(one_chunk(shorter)[0].token_ids) == 5 * (LEAST_SHARED - 1 + 3 + 4 * 4)


def test_a_prompt_that_another_begins_with_keeps_a_token_of_its_own():
    short = tuple(range(500, 500 + LEAST_SHARED + 2))
    groups = [
        group(p, [rollout(p, g, 4, prompt_ids=ids) for g in range(2)])
        for p, ids in enumerate([short, (*short, 7)])
    ]
    chunk, _ = one_chunk(groups)
    assert chunk.segments[0].length == LEAST_SHARED + 1


def test_masked_tokens_are_read_and_not_predicted():
    tool = rollout(0, 0, 4, sampled=(True, False, False, True))
    chunk, totals = one_chunk([group(0, [tool, rollout(0, 1, 2)])])
    assert totals.tokens == 4
    tokens = chunk.token_ids[chunk.predicted[chunk.sequence == 0]].tolist()
    assert tokens == [tool.token_ids[0], tool.token_ids[3]]
    drawn = [tool.logprobs[0], tool.logprobs[3]]
    assert chunk.behaviour[chunk.sequence == 0].tolist() == pytest.approx(drawn)
    assert chunk.completion_lengths.tolist() == [2, 2]
    assert chunk.segments == ((3, -1), (4, 0), (2, 0))


@pytest.mark.parametrize("budget", [1, 20, 64])
def test_no_chunk_is_over_budget_but_for_one_long_sequence(budget):
    (batch,) = pack(step(), **{**OPTIONS, "token_budget": budget})
    assert sum(len(c.completion_lengths) for c in batch.chunks) == 20
    assert all(len(c.token_ids) <= budget or len(c.completion_lengths) == 1 for c in batch.chunks)


def test_chunks_are_nearly_full():
    groups = [group(0, [rollout(0, g, 1 + g % 40) for g in range(200)])]
    (batch,) = pack(groups, **{**OPTIONS, "token_budget": 256})
    tokens = sum(len(c.token_ids) for c in batch.chunks)
    assert len(batch.chunks) <= tokens / 256 + 2


def test_minibatches_are_consecutive_prompts():
    batches = pack(step(), **{**OPTIONS, "minibatches": 2})
    tokens = [{t // 100 for c in b.chunks for t in c.token_ids.tolist() if t < 1000} for b in batches]
    assert tokens == [{0, 1}, {2, 3, 4}]
    assert [b.totals.sequences for b in batches] == [8, 12]


def test_more_minibatches_than_prompts_leave_empty_ones():
    batches = pack(step()[:1], **{**OPTIONS, "minibatches": 3})
    assert [len(b.chunks) > 0 for b in batches] == [False, False, True]
    assert [b.totals.sequences for b in batches] == [0, 0, 4]


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_failed_rollouts_neither_train_nor_count(reason):
    failed = rollout(0, 0, 5, finish_reason=reason, logprobs=())
    chunk, totals = one_chunk([group(0, [failed, rollout(0, 1, 2), rollout(0, 2, 2)])])
    assert (totals.sequences, totals.tokens) == (2, 4)
    assert chunk.advantages.tolist() == [2.0, 2.0, 3.0, 3.0]


def test_truncated_completions_train_or_do_not_count():
    groups = [group(0, [rollout(0, 0, 5, finish_reason="length"), rollout(0, 1, 2)])]
    chunk, totals = one_chunk(groups)
    assert (totals.sequences, totals.tokens, len(chunk.predicted)) == (2, 7, 7)
    chunk, totals = one_chunk(groups, mask_truncated=True)
    assert (totals.sequences, totals.tokens, len(chunk.predicted)) == (1, 2, 2)


def test_zero_advantages_are_skipped_but_counted():
    groups = [group(0, [rollout(0, 0, 5), rollout(0, 1, 2)], [0.0, 1.0])]
    chunk, totals = one_chunk(groups, skip_zero_advantage=True)
    assert (totals.sequences, totals.tokens, len(chunk.predicted)) == (2, 7, 2)
    nothing = pack([group(0, [rollout(0, 0, 5)], [0.0])], **{**OPTIONS, "skip_zero_advantage": True})
    assert nothing[0].chunks == ()
    assert nothing[0].totals.tokens == 5


def test_empty_completions_count_as_sequences():
    chunk, totals = one_chunk([group(0, [rollout(0, 0, 0), rollout(0, 1, 2)])])
    assert (totals.sequences, totals.tokens, len(chunk.completion_lengths)) == (2, 2, 1)
    assert pack([group(0, [rollout(0, 0, 0)])], **OPTIONS)[0].chunks == ()


@pytest.mark.parametrize("field", ["sampled", "logprobs", "versions"])
def test_per_token_values_that_disagree_in_number_stop_the_run(field):
    good = rollout(3, 1, 4)
    bad = replace(good, **{field: getattr(good, field)[:-1]})
    with pytest.raises(RunError, match=r"prompt p3, sample 1: .*disagree in number: \[3, 4\]"):
        pack([group(3, [bad])], **OPTIONS)


def test_values_that_are_not_finite_stop_the_run():
    with pytest.raises(RunError, match=r"p0.*not finite"):
        pack([group(0, [rollout(0, 0, 1, logprobs=(float("nan"),))])], **OPTIONS)
    with pytest.raises(RunError, match=r"p0.*not finite"):
        pack([group(0, [rollout(0, 0, 1)], [float("inf")])], **OPTIONS)


def test_a_completion_that_nothing_predicts_stops_the_run():
    with pytest.raises(RunError, match=r"p0.*no token"):
        pack([group(0, [rollout(0, 0, 2, prompt_ids=())])], **OPTIONS)


@pytest.mark.parametrize("shift", [-1, 1])
def test_indices_off_by_one_are_seen(shift):
    one = group(4, [rollout(4, 0, 3), rollout(4, 1, 3, token_ids=(5, 5, 5))])
    chunk, _ = one_chunk([one])
    check_chunk(chunk, one.rollouts)
    for start in (0, 3):  # tokens that repeat hide a shift from a comparison of tokens alone
        predicted = chunk.predicted.clone()
        predicted[start + 1] += shift
        with pytest.raises(RunError, match="prompt p4: a packed index"):
            check_chunk(replace(chunk, predicted=predicted), one.rollouts)
        source = chunk.source.clone()
        source[start + 1] += shift
        with pytest.raises(RunError, match="prompt p4: a packed index"):
            check_chunk(replace(chunk, source=source), one.rollouts)
    with pytest.raises(RunError, match="prompt p4"):
        check_chunk(replace(chunk, predicted=chunk.predicted[1:], source=chunk.source[1:],
                            sequence=chunk.sequence[1:]), one.rollouts)  # fmt: skip


def test_a_completion_behind_another_prompt_is_seen():
    groups = [group(p, [rollout(p, g, 3, prompt_ids=(p, p, p)) for g in range(2)]) for p in (8, 9)]
    chunk, _ = one_chunk(groups)
    rollouts = [r for one in groups for r in one.rollouts]
    check_chunk(chunk, rollouts)
    swapped = [Segment(length, {3: 0}.get(parent, parent)) for length, parent in chunk.segments]
    with pytest.raises(RunError, match="prompt p9"):
        check_chunk(replace(chunk, segments=tuple(swapped)), rollouts)


def test_pack_itself_runs_that_check(monkeypatch):
    lay_out = packing._lay_out
    fault = lambda *a: replace(lay_out(*a), predicted=lay_out(*a).predicted - 1)  # noqa: E731
    monkeypatch.setattr(packing, "_lay_out", fault)
    with pytest.raises(RunError, match="prompt p"):
        pack(step(), **OPTIONS)


def test_old_logprobs_come_from_one_pass_without_gradient():
    batches = pack(step(), **{**OPTIONS, "minibatches": 3})
    seen = []

    def logprobs(chunk):
        assert not torch.is_grad_enabled()
        seen.append(chunk)
        return chunk.behaviour + 1, chunk.behaviour

    filled = with_old_logprobs(batches, logprobs)
    assert seen == [chunk for batch in batches[1:] for chunk in batch.chunks]
    assert filled[0] is batches[0]  # trained with the weights of the pass: on-policy
    for batch in filled[1:]:
        assert all(torch.equal(c.old, c.behaviour + 1) for c in batch.chunks)
    assert [b.totals for b in filled] == [b.totals for b in batches]


def test_one_batch_costs_no_pass():
    batches = pack(step(), **OPTIONS)
    assert with_old_logprobs(batches, lambda chunk: pytest.fail("a pass")) == batches


def test_sequences_chunk_predicts_all_but_the_first():
    rows = [[5, 6, 7], [8, 9], [1, 2, 3, 4]]
    chunk = sequences_chunk(rows)
    assert chunk.segments == ((3, -1), (2, -1), (4, -1))
    assert chunk.token_ids[chunk.predicted].tolist() == [6, 7, 9, 2, 3, 4]
    assert chunk.completion_lengths.tolist() == [2, 1, 3]


def test_lengths_that_differ_tenfold_are_hardly_padded():
    rng = random.Random(0)
    groups = []
    for p in range(8):
        prompt = tuple(rng.randrange(1000) for _ in range(rng.randint(20, 200)))
        groups.append(group(p, [rollout(p, g, rng.randint(40, 400), prompt_ids=prompt) for g in range(8)]))
    tally = Tally(optimiser_steps=1)
    for batch in pack(groups, **{**OPTIONS, "token_budget": 8192, "max_tokens": 400}):
        for chunk in batch.chunks:
            note_packing(tally, chunk)
    assert tally.values()["packing/real_share"] > 0.97
