"""Prompts to scored groups, over an engine whose failures are scripted and a real scorer."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from grpo.errors import RunError
from grpo.gather import gather, requests_for
from grpo.parallel.ranks import ALONE, Ranks
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


@dataclass(frozen=True)
class InTurn(Ranks):
    """A rank that hears itself and those that spoke before it, by rank."""

    said: dict[int, object] = field(default_factory=dict)

    def exchange(self, value):
        self.said[self.rank] = value
        return [self.said[rank] for rank in sorted(self.said)]


def run(engine, scorer, samples=3, prompts=PROMPTS, ranks=ALONE):
    return gather(engine, scorer, prompts, samples, Sampling(), run_seed=0, step=5, ranks=ranks)


def names(gathered):
    return "".join(group.prompt.id for group in gathered.groups)


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


@pytest.mark.parametrize("turns", [(0, 1, 2), (2, 0, 1)])
def test_ranks_draw_their_shares_and_all_get_all_groups_in_prompt_order(scorer, turns):
    said, engines = {}, [ScriptedEngine(lambda r, tries: r.sample == 1 and "error") for _ in turns]
    for rank in turns:
        found = run(engines[rank], scorer, ranks=InTurn(rank, 3, 3, said))
    assert names(found) == "cabd"
    assert ["".join(sorted({r.prompt_id for r in engine.requests})) for engine in engines] == ["c", "a", "bd"]
    assert (found.retried, found.failed, found.dropped) == (4, 4, 0)
    assert [len(group.rollouts) for group in found.groups] == [2] * 4


def test_a_rank_that_does_not_draw_gets_the_groups_of_the_one_that_does(scorer):
    said, idle = {}, ScriptedEngine()
    run(ScriptedEngine(), scorer, ranks=InTurn(0, 2, 1, said))
    assert names(run(idle, scorer, ranks=InTurn(1, 2, 1, said))) == "cabd"
    assert idle.requests == []


def test_it_takes_all_ranks_to_be_left_with_no_group(scorer):
    said, broken = {}, ScriptedEngine(lambda r, tries: "abort")
    run(ScriptedEngine(), scorer, ranks=InTurn(0, 2, 2, said))
    found = run(broken, scorer, ranks=InTurn(1, 2, 2, said))
    assert (names(found), found.failed, found.dropped) == ("ca", 6, 2)
    run(ScriptedEngine(), scorer, ranks=InTurn(0, 2, 2, said))
    said[0][0].groups.clear()
    with pytest.raises(RunError, match=r"step 5: no group is left.*failed on 6 of 12"):
        run(broken, scorer, ranks=InTurn(1, 2, 2, said))


OTHER = Prompt("e", "e", "4", "e", (1, 2))


@pytest.mark.parametrize(
    "theirs",
    [PROMPTS[::-1], [*PROMPTS[:2], PROMPTS[3], PROMPTS[2]], [*PROMPTS[:3], OTHER], PROMPTS[:3], []],
    ids=["reversed", "swapped within a share", "another", "one fewer", "none"],
)
def test_ranks_that_took_different_prompts_stop_the_run(scorer, theirs):
    said = {}
    run(ScriptedEngine(), scorer, ranks=InTurn(0, 2, 2, said))
    with pytest.raises(
        RunError, match=r"step 5: the ranks took different prompts: rank 1's are not rank 0's"
    ):
        run(ScriptedEngine(), scorer, prompts=theirs, ranks=InTurn(1, 2, 2, said))


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
