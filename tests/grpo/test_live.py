import io

import pytest
from rich.console import Console

from grpo.live import LiveView, view_for
from grpo.types import Group, Prompt, Rollout
from grpo.view import PlainView

HOSTILE = "<think>3+6\x1b[2J[bold]9[/bold]</think><answer>579</answer><|im_end|>"
METRICS = {
    "reward/mean": 1.25,
    "reward/accuracy": 0.25,
    "reward/format": 1.0,
    "completions/mean_length": 31.4,
    "policy/entropy": 0.42,
    "reward/format/thinks": 0.4,
    "completions/clipped_ratio": 0.01,
    "groups/zero_std_ratio": 0.2,
    "mismatch/kl": 3e-6,
    "grad_norm": 0.7,
    "throughput/tokens_per_second": 4523.0,
}


def group(text: str = HOSTILE) -> Group:
    rollout = Rollout("p", 0, (1,), (2,) * 40, (True,) * 40, (-0.1,) * 40, (0,) * 40, text, "stop")
    return Group(Prompt("p", "123+456=", "579", "\x1b[3J123+456=", (1,)), (rollout,), (), (2.0,), (0.5,))


def evaluation(accuracy: float, length: float) -> dict[str, float]:
    ends = {
        "pass@1": accuracy,
        "pass@1_low": accuracy - 0.05,
        "pass@1_high": accuracy + 0.05,
        "mean_length": length,
    }
    return {f"eval/select/{name}": value for name, value in ends.items()}


def terminal(width: int = 100, height: int = 32) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, height=height, color_system="truecolor"
    )


def screen(view: LiveView, width: int = 100, height: int = 32) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, force_terminal=True)
    console.print(view.render())
    return console.file.getvalue()


def trained(width: int = 100, height: int = 32, text: str = HOSTILE) -> LiveView:
    view = LiveView(terminal(width, height), "demo")
    view.stage("train", 60)
    view.evaluation(0, evaluation(0.2, 14))
    for step in range(1, 11):
        view.phase("rollout")
        view.step(step, METRICS | {"reward/accuracy": step / 10}, group(text))
    view.evaluation(10, evaluation(0.8, 30))
    view.phase("evaluate")
    return view


def test_a_terminal_gets_the_screen_and_a_pipe_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(view_for(terminal(), "demo"), LiveView)
    assert isinstance(view_for(Console(file=io.StringIO()), "demo"), PlainView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view_for(terminal(), "demo"), PlainView)


@pytest.mark.parametrize(("width", "height"), [(80, 16), (80, 24), (100, 32), (160, 50)])
@pytest.mark.parametrize("text", [HOSTILE, "long " * 400, "line\n" * 60, "日本語" * 300])
def test_everything_fits_the_terminal(width, height, text):
    view = trained(width, height, text)
    lines = screen(view, width, height).splitlines()
    assert len(lines) <= height
    console = Console(width=width)
    assert max(console.measure(line).maximum if line else 0 for line in lines) <= width


def test_the_screen_tells_all_of_a_step():
    shown = screen(trained())
    for part in (
        "demo train",
        "10/60",
        "left",
        "evaluate",
        "pass@1 0.8 (from 0.2)",
        "length, tokens 30 (from 14)",
    ):
        assert part in shown
    for label in ("reward", "accuracy", "format", "length", "entropy", "tokens/s", "4.52k", "▁▂▃▃▄▅▆▆▇█"):
        assert label in shown
    for part in ("123+456=", "<answer>579</answer>", "answer 579 · reward 2 · 40 tokens · ended by stop"):
        assert part in shown


def test_model_text_is_shown_not_obeyed():
    shown = screen(trained())
    assert r"3+6\x1b[2J[bold]9[/bold]" in shown
    assert r"\x1b[3J123+456=" in shown
    assert "\x1b" not in shown


def test_the_end_of_a_long_completion_is_kept():
    shown = screen(trained(80, 24, "step\n" * 50 + "<answer>579</answer>"), 80, 24)
    assert "…" in shown
    assert "<answer>579</answer>" in shown


def test_before_an_evaluation_training_is_charted_and_a_new_stage_starts_afresh():
    view = LiveView(terminal(), "demo")
    view.stage("pretrain", 900)
    view.step(1, {"loss": 3.0})
    view.step(2, {"loss": 2.0})
    assert "loss 2 (from 3)" in screen(view)
    view.stage("train", 60)
    assert "loss" not in screen(view)
    view.step(1, METRICS)
    assert "reward/mean 1.25" in screen(view)


def test_drawing_goes_on_while_steps_arrive_and_ends_with_the_last_state():
    console = terminal()
    view = LiveView(console, "demo")
    with view:
        view.stage("train", 3)
        for step in range(1, 4):
            view.step(step, METRICS, group())
        view.note("saved [bold]step-3[/bold]")
    written = console.file.getvalue()
    assert "3/3" in written
    assert "[bold]step-3[/bold]" in written
    assert written.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_an_error_inside_leaves_the_terminal_usable():
    console = terminal()
    with pytest.raises(ZeroDivisionError), LiveView(console, "demo") as view:
        view.stage("train", 3 // 0)
    assert "\x1b[?25h" in console.file.getvalue()
