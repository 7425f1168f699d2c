import json
import math
from collections.abc import Iterator

import pytest

from eval.run import correct, evaluate, summarise
from grpo.errors import UserError
from grpo.recipe import Rule
from grpo.rollout.engine import sample_seed
from grpo.scoring import Scorer
from grpo.types import Group, Prompt, Request, Rollout, Sampling
from rewards.score import Score


class ScriptedEngine:
    """A rollout engine whose completions are a function of prompt and sample, finished last to first."""

    version = 7

    def __init__(
        self, texts: dict[str, list[str]], failing: frozenset[tuple[str, int]] = frozenset()
    ) -> None:
        self.texts, self.failing = texts, failing
        self.requests: list[Request] = []
        self._queue: list[Request] = []

    def submit(self, requests) -> None:
        new = list(requests)
        self.requests += new
        self._queue += new

    def finished(self) -> Iterator[Rollout]:
        while self._queue:
            yield self._draw(self._queue.pop())

    def _draw(self, request: Request) -> Rollout:
        text = self.texts[request.prompt_id][request.sample]
        size = len(text)
        reason = "length" if text.endswith("…") else "stop"
        if (request.prompt_id, request.sample) in self.failing:
            text, size, reason = "", 0, "error"
        return Rollout(
            prompt_id=request.prompt_id,
            sample=request.sample,
            prompt_ids=request.prompt_ids,
            token_ids=(5,) * size,
            sampled=(True,) * size,
            logprobs=(-0.5,) * size,
            versions=(self.version,) * size,
            text=text,
            finish_reason=reason,
        )


def prompt(name: str, answer: str) -> Prompt:
    return Prompt(name, name, answer, name, (1, 2))


def thought(answer: str) -> str:
    return f"<think>so</think><answer>{answer}</answer>"


def direct(answer: str) -> str:
    return f"<think></think><answer>{answer}</answer>"


PROMPTS = [prompt("a", "4"), prompt("b", "10")]
TEXTS = {
    "a": [thought("4"), thought("4"), direct("4"), direct("5")],
    "b": [thought("9"), direct("1"), direct("2"), "<think>never ends…"],
}


@pytest.fixture(scope="module")
def scorer():
    with Scorer([Rule(rule="accuracy"), Rule(rule="format")], workers=1) as scorer:
        yield scorer


def run(engine, scorer, samples=4):
    return evaluate(engine, scorer, PROMPTS, Sampling(max_tokens=99), samples, seed=3, name="report")


def test_estimates_come_from_the_rule_that_grades_the_answer(scorer):
    found = run(ScriptedEngine(TEXTS), scorer)
    assert found.pass_at_1.value == pytest.approx((3 / 4 + 0) / 2)
    assert found.rules["accuracy"].value == found.pass_at_1.value
    assert found.rules["format"].value == pytest.approx((4 / 4 + 3 / 4) / 2)
    assert found.pass_at_1.low < found.pass_at_1.value < found.pass_at_1.high
    lengths = [[len(text) for text in texts] for texts in TEXTS.values()]
    assert found.mean_length.value == pytest.approx(sum(map(sum, lengths)) / 8)
    assert (found.tokens, found.truncated) == (sum(map(sum, lengths)), 1 / 8)
    assert (found.version, found.prompts, found.samples, found.ungraded, found.failed) == (7, 2, 4, 0, 0)


def test_groups_come_back_in_order_of_prompts_and_samples(scorer):
    found = run(ScriptedEngine(TEXTS), scorer)
    assert [group.prompt.id for group in found.groups] == ["a", "b"]
    assert [r.text for group in found.groups for r in group.rollouts] == [*TEXTS["a"], *TEXTS["b"]]


def test_two_evaluations_draw_with_the_same_seeds(scorer):
    engine = ScriptedEngine(TEXTS)
    run(engine, scorer)
    engine.version = 99
    run(engine, scorer)
    seeds = [request.seed for request in engine.requests]
    assert seeds[:8] == seeds[8:]
    assert len(set(seeds)) == 8
    assert sample_seed(3, 0, "a", 0) not in seeds  # nor are they those of a training step


def test_styles_split_accuracy_by_thinking(scorer):
    styles = run(ScriptedEngine(TEXTS), scorer).styles
    assert styles["thinking"].share.value == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert styles["direct"].share.value == pytest.approx((2 / 4 + 3 / 4) / 2)  # an unclosed thought is none
    assert styles["thinking"].pass_at_1.value == pytest.approx((1 + 0) / 2)
    assert styles["direct"].pass_at_1.value == pytest.approx((1 / 2 + 0) / 2)


def test_failed_completions_are_left_out_and_counted(scorer):
    found = run(ScriptedEngine(TEXTS, failing=frozenset({("a", 3)})), scorer)
    assert found.failed == 1
    assert found.pass_at_1.value == pytest.approx((3 / 3 + 0) / 2)  # not 3 of 4


def scored(name: str, *rows: tuple[float | None, ...]) -> Group:
    rollouts = tuple(
        Rollout(name, i, (1,), (2,), (True,), (0.0,), (0,), "x", "stop") for i in range(len(rows))
    )
    statuses = [[Score(s, "ok" if s is not None else "error", 0.0) for s in row] for row in rows]
    return Group(prompt(name, "1"), rollouts, tuple(map(tuple, statuses)))


def summary_of(*groups: Group, graders: tuple[bool, ...]):
    names = [f"rule{k}" for k in range(len(graders))]
    return summarise(groups, names, graders, name="x:test", version=0, prompts=len(groups), samples=2)


def test_ungraded_is_neither_right_nor_wrong():
    found = summary_of(
        scored("a", (1.0, 0.0), (None, 0.0)), scored("b", (None, 3.0), (None, 3.0)), graders=(True, False)
    )
    assert (found.pass_at_1.value, found.ungraded) == (1.0, 3)
    assert found.rules["rule1"].value == 1.5


def test_partial_credit_is_not_a_right_answer():
    found = summary_of(scored("a", (0.9,), (1.0,)), graders=(True,))
    assert found.pass_at_1.value == 0.5
    assert found.rules["rule0"].value == pytest.approx(0.95)


def test_every_grading_rule_must_agree():
    one, half, none = Score(1.0, "ok", 0.0), Score(0.5, "ok", 0.0), Score(None, "none", 0.0)
    assert correct((one, half), (True, True)) == 0
    assert correct((one, half), (True, False)) == 1
    assert correct((one, none), (True, True)) == 1
    assert correct((none, one), (True, False)) is None


def test_without_a_grading_rule_there_is_no_pass_at_1():
    found = summary_of(scored("a", (1.0,), (0.0,)), graders=(False,))
    assert math.isnan(found.pass_at_1.value)
    assert found.ungraded == 0
    assert not any("pass@1" in name for name in found.metrics())
    assert found.to_json()["pass@1"] is None


def test_metrics_and_json_tell_the_same(scorer):
    found = run(ScriptedEngine(TEXTS), scorer)
    metrics, told = found.metrics(), json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert metrics["eval/report/pass@1"] == told["pass@1"] == found.pass_at_1.value
    assert [metrics["eval/report/pass@1_low"], metrics["eval/report/pass@1_high"]] == told["interval"]
    assert metrics["eval/report/mean_length"] == told["mean_length"]
    assert metrics["eval/report/reward/format"] == told["rules"]["format"]["value"]
    assert metrics["eval/report/thinking/share"] == told["styles"]["thinking"]["share"]["value"]
    assert all(name.startswith("eval/report/") and math.isfinite(value) for name, value in metrics.items())


def test_nothing_to_evaluate_is_the_users_mistake(scorer):
    with pytest.raises(UserError, match="0 prompts"):
        evaluate(ScriptedEngine({}), scorer, [], Sampling(), 4, seed=0, name="report")
