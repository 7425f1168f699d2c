"""Prompts to scored groups, over an engine whose failures are scripted and a real scorer."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from grpo.errors import RunError
from grpo.gather import gather, requests_for
from grpo.recipe import Rule
from grpo.rollout.engine import RolloutEngine
from grpo.scoring import Scorer
from grpo.types import Prompt, Request, Rollout, Sampling

GOOD = "<think>t</think><answer>4</answer>"


class ScriptedEngine(RolloutEngine):
    """Finishes the last request first. `fails(request, tries)` is False, "error" or "abort"."""

    version = 3

    def __init__(self, fails: Callable[[Request, int], str | bool] = lambda request, tries: False) -> None:
        self.fails, self.requests, self._queue = fails, [], []
        self._tries: Counter[tuple[str, int]] = Counter()

    def submit(self, requests) -> None:
        new = list(requests)
        self.requests += new
        self._queue += new

    def finished(self) -> Iterator[Rollout]:
        while self._queue:
            request = self._queue.pop()
            key = (request.prompt_id, request.sample)
            reason = self.fails(request, self._tries[key]) or "stop"
            self._tries[key] += 1
            text = GOOD if request.sample % 2 else "no"
            ids = tuple(range(len(text))) if reason == "stop" else ()
            n = len(ids)
            yield Rollout(
                request.prompt_id,
                request.sample,
                request.prompt_ids,
                ids,
                (True,) * n,
                (-0.5,) * n,
                (3,) * n,
                text if n else "",
                reason,
                error=None if n else "lost",
            )


@pytest.fixture(scope="module")
def scorer():
    with Scorer([Rule(rule="accuracy"), Rule(rule="format")], workers=1) as scorer:
        yield scorer


PROMPTS = [Prompt(name, name, "4", name, (1, 2)) for name in "cabd"]


def run(engine, scorer, samples=3, prompts=PROMPTS):
    return gather(engine, scorer, prompts, samples, Sampling(), run_seed=0, step=5)


def test_groups_come_in_prompt_order_whole_and_scored(scorer):
    engine = ScriptedEngine()
    found = run(engine, scorer)
    assert [group.prompt.id for group in found.groups] == list("cabd")
    for group in found.groups:
        assert [(r.prompt_id, r.sample) for r in group.rollouts] == [(group.prompt.id, s) for s in range(3)]
        assert [[s.score for s in row] for row in group.scores] == [[0, 0], [1, 1], [0, 0]]
    assert (found.retried, found.failed, found.dropped) == (0, 0, 0)
    assert len(engine.requests) == 12


@pytest.mark.parametrize("reason", ["error", "abort"])
def test_a_failure_is_drawn_again_once_with_another_seed(scorer, reason):
    engine = ScriptedEngine(
        lambda r, tries: reason if (r.prompt_id, r.sample, tries) == ("a", 1, 0) else False
    )
    found = run(engine, scorer)
    assert [len(group.rollouts) for group in found.groups] == [3] * 4
    assert (found.retried, found.failed, found.dropped) == (1, 0, 0)
    first, second = [r for r in engine.requests if (r.prompt_id, r.sample) == ("a", 1)]
    assert first.seed != second.seed
    assert first.prompt_ids == second.prompt_ids


def test_what_fails_twice_is_in_no_group_and_never_scored_0(scorer):
    engine = ScriptedEngine(lambda r, tries: "error" if (r.prompt_id, r.sample) == ("b", 1) else False)
    found = run(engine, scorer)
    b = found.groups[2]
    assert [r.sample for r in b.rollouts] == [0, 2]
    assert len(b.scores) == 2
    assert all(r.finish_reason == "stop" for group in found.groups for r in group.rollouts)
    assert (found.retried, found.failed, found.dropped) == (1, 1, 0)
    assert sum(r.prompt_id == "b" and r.sample == 1 for r in engine.requests) == 2


def test_a_prompt_left_with_one_rollout_is_dropped_and_counted(scorer):
    engine = ScriptedEngine(lambda r, tries: "error" if r.prompt_id == "b" and r.sample else False)
    found = run(engine, scorer)
    assert [group.prompt.id for group in found.groups] == list("cad")
    assert (found.retried, found.failed, found.dropped) == (2, 2, 1)


def test_one_sample_a_prompt_is_a_group_of_one(scorer):
    found = run(ScriptedEngine(lambda r, tries: "error" if r.prompt_id == "a" else False), scorer, samples=1)
    assert [len(group.rollouts) for group in found.groups] == [1, 1, 1]
    assert (found.failed, found.dropped) == (1, 1)


def test_nothing_left_stops_the_run(scorer):
    with pytest.raises(RunError, match=r"step 5: no group is left.*failed on 12 of 12.*engine.log"):
        run(ScriptedEngine(lambda r, tries: "abort"), scorer)
    with pytest.raises(RunError, match="failed on 8 of 12"):
        run(ScriptedEngine(lambda r, tries: "abort" if r.sample else False), scorer)
    assert len(run(ScriptedEngine(), scorer).groups) == 4  # the scorer is left usable


def test_no_two_seeds_are_the_same():
    prompts = [Prompt(str(i), "", None, "", (1,)) for i in range(50)]
    seeds = [
        request.seed
        for run_seed in range(2)
        for step in range(-1, 10)
        for request in requests_for(prompts, 8, Sampling(), run_seed=run_seed, step=step)
    ]
    assert len(seeds) == len(set(seeds)) == 2 * 11 * 50 * 8
    assert min(abs(a - b) for a, b in zip(sorted(seeds), sorted(seeds)[1:], strict=False)) > 8
