import io

import pytest
from rich.console import Console

from grpo.view import PlainView, fields_of, rule_metrics, sets_of

STEP = {
    "reward/mean": 1.25,
    "reward/std": 0.5,
    "reward/accuracy": 0.25,
    "reward/format": 1.0,
    "reward/format/thinks": 0.4,
    "reward/ungraded": 0.0,
    "reward/seconds": 0.01,
    "completions/mean_length": 31.44,
    "policy/entropy": 0.42,
    "throughput/tokens_per_second": 4523.0,
    "loss": 0.001,
    "grad_norm": 0.7,
}
EVALUATION = {
    "eval/gsm8k:test/pass@1": 0.5,
    "eval/gsm8k:test/pass@1_low": 0.4,
    "eval/gsm8k:test/pass@1_high": 0.6,
    "eval/gsm8k:test/mean_length": 31.44,
    "eval/mine/mean_length": 8.0,
}


@pytest.fixture
def told():
    stream = io.StringIO()
    view = PlainView(Console(file=stream, width=40))
    return view, lambda: stream.getvalue().splitlines()


def test_one_line_a_step_however_narrow(told):
    view, lines = told
    view.stage("train", 60)
    view.phase("rollout")
    view.step(1, STEP)
    assert len(lines()) == 2
    assert lines()[0] == "train: 60 steps"
    assert lines()[1].startswith(
        "step 1/60 · reward 1.25 · accuracy 0.25 · format 1 · thinking 0.4 · length 31.4 · entropy 0.42 · "
        "tokens/s 4.52k"
    )
    assert lines()[1].endswith(" left")


def test_an_evaluation_shows_its_interval(told):
    view, lines = told
    view.evaluation(20, EVALUATION)
    assert lines() == [
        "step 20: gsm8k:test · pass@1 0.500 [0.400, 0.600] · mean length 31.4 tokens",
        "step 20: mine · mean length 8.0 tokens",
    ]


def test_text_from_outside_is_neither_markup_nor_escapes(told):
    view, lines = told
    view.note("[red]x[/red] \x1b[2J")
    assert lines() == [r"[red]x[/red] \x1b[2J"]


def test_a_resumed_stage_says_so_and_counts_pace_from_there(told):
    view, lines = told
    view.stage("train", 60, done=20)
    view.step(20, STEP)
    view.step(21, STEP)
    assert lines()[0] == "train: 60 steps, 20 done"
    assert "left" not in lines()[1]  # no step of this process is finished: no pace yet
    assert "left" in lines()[2]


def test_the_evaluation_of_the_base_is_not_part_of_the_pace(told, monkeypatch):
    view, lines = told
    now = iter([0, 300, 310, 330])  # begin, evaluation, steps 1 and 2
    monkeypatch.setattr("grpo.view.time.monotonic", lambda: next(now))
    view.stage("train", 11)
    view.evaluation(0, EVALUATION)
    view.step(1, STEP)
    view.step(2, STEP)
    assert [line.rsplit(" · ")[-1] for line in lines()[-2:]] == ["1:40 left", "2:15 left"]


def test_a_stage_without_a_total(told):
    view, lines = told
    view.stage("start engine")
    view.step(3, {"loss": 0.5})
    assert lines() == ["start engine", "step 3 · loss 0.5"]


def test_which_metrics_are_shown():
    assert list(fields_of(STEP)) == [
        "reward", "accuracy", "format", "thinking", "length", "entropy", "grad norm", "tokens/s",
    ]  # fmt: skip
    assert rule_metrics(STEP) == ["reward/accuracy", "reward/format"]
    assert sets_of(EVALUATION) == ["gsm8k:test", "mine"]
