"""A run in the terminal while it goes on."""

import io
import json

from rich.console import Console

from grpo.report import watch as module
from grpo.report.watch import group_of, watch


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=100, height=36, force_terminal=terminal, color_system=None)


def watched(folder, terminal, monkeypatch, *events):
    """What is shown of a run in which each event happens at one look at it."""
    left = list(events)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: left.pop(0)())
    screen = console(terminal)
    ended = watch(folder, screen, every=0.01)
    assert not left
    return ended, screen.file.getvalue()


def finish(folder, steps):
    (folder / "summary.json").write_text(json.dumps({"steps": steps}))


def test_a_finished_run_is_shown_once(run, monkeypatch):
    ended, shown = watched(run, True, monkeypatch)
    assert ended.done == 4
    for words in ("run training", "4/4", "pass@1 0.8", "(from 0)", "reward", "one completion", "answer 42"):
        assert words in shown
    assert "\x1b[2J" not in shown  # what the completion holds is written out


def test_a_log_goes_on_with_new_steps_until_the_end(make_run, add_step, monkeypatch):
    folder = make_run(2, ended=False)
    ended, shown = watched(
        folder,
        False,
        monkeypatch,
        lambda: add_step(folder, 3),
        lambda: None,
        lambda: add_step(folder, 4),
        lambda: finish(folder, 4),
    )
    assert ended.done == 4
    steps = [line.split(" · ")[0] for line in shown.splitlines() if line.startswith("step ")]
    assert steps == ["step 2/4", "step 2: held-out", "step 3/4", "step 4/4", "step 4: held-out"]


def test_steps_that_a_resume_takes_back_are_shown_anew(make_run, add_step, monkeypatch):
    folder = make_run(3, ended=False)

    def back():
        lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
        (folder / "metrics.jsonl").write_text("".join(lines[:3]))
        add_step(folder, 3)
        assert (folder / "metrics.jsonl").read_text() == "".join(lines)
        changed = json.loads(lines[2]) | {"reward/mean": 9.0}
        (folder / "metrics.jsonl").write_text("".join([*lines[:2], json.dumps(changed) + "\n"]))

    def on():
        add_step(folder, 3)
        add_step(folder, 4)
        finish(folder, 4)

    _, shown = watched(folder, False, monkeypatch, back, on)
    steps = [line.split(" · ")[0] for line in shown.splitlines() if line.startswith("step ") and "/" in line]
    assert steps == ["step 3/4", "step 1/4", "step 2/4", "step 3/4", "step 4/4"]
    assert "reward 9 " in shown


def test_a_run_before_its_first_step_is_waited_for(tmp_path, add_step, monkeypatch):
    (tmp_path / "metrics.jsonl").touch()
    _, shown = watched(
        tmp_path, False, monkeypatch, lambda: add_step(tmp_path, 1), lambda: finish(tmp_path, 1)
    )
    assert "step 1 " in shown


def test_another_prompt_is_shown_each_step(run):
    assert [group_of(run, step).prompt.id for step in (1, 2, 3, 4)] == [
        "prompt0",
        "prompt1",
        "prompt2",
        "prompt0",
    ]
    assert group_of(run, 1).rewards == (0.0, 1.0)
    assert group_of(run, 9) is None


def test_samples_of_another_version_are_passed_over(run):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"step": [1]}), run / "samples" / "step-000001.parquet")
    assert group_of(run, 1) is None
