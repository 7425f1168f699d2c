"""`grpo hacking` on run folders."""

from __future__ import annotations

import json

import pytest

from grpo import cli
from grpo.cli.hacking import course_of, figure, ranges
from grpo.hacking.flags import Finding
from grpo.samples import write_samples
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score


@pytest.fixture
def run(tmp_path):
    """A run that comes to box two answers."""
    folder = tmp_path / "run"
    for step in range(1, 13):
        groups = []
        for index in range(16):
            text = rf"step {step} of prompt {index} is worked out like this: \boxed{{{index}}}"
            text += r" or \boxed{[bold]}" if step > 6 else ""
            rollout = Rollout(f"p{index}", 0, (1,), (2,), (True,), (-1.0,), (0,), text, "stop")
            prompt = Prompt(f"p{index}", "q", str(index), "q", (1,))
            groups.append(Group(prompt, (rollout,), ((Score(1.0, "ok", 0.0),),), (1.0,), (0.0,)))
        write_samples(folder, step, groups, ["mine"])
    return folder


def run_command(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["hacking", *map(str, arguments)])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_a_flag_is_shown_with_what_shows_it(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    code, shown = run_command(capsys, run)
    assert code == 0
    assert "12 steps, flags: 1" in shown
    assert "several final answers: 0.000 to 1.000" in shown
    assert "12/p0/0" in shown
    assert r"\boxed{[bold]}" in shown  # the completion, not its markup
    assert "not judged" in shown


def test_json_holds_everything(run, capsys):
    code, out = run_command(capsys, run, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["flagged"] == ["several_answers"]
    (found,) = [finding for finding in report["findings"] if finding["check"] == "several_answers"]
    assert {"steps", "figures", "samples", "series", "threshold", "why"} <= set(found)


def test_a_folder_without_a_run_is_the_users_mistake(tmp_path, capsys):
    assert run_command(capsys, tmp_path)[0] == 2


def test_ranges_and_figures():
    assert ranges([3, 4, 5, 7, 9, 10]) == "3-5, 7, 9-10"
    assert ranges([]) == ""
    assert figure({"a": [0.1, 0.25]}) == "a 0.100 to 0.250"


def test_a_course_is_drawn_whole_and_to_scale():
    def drawn(*values):
        series = list(enumerate(values))
        return course_of(Finding("a", "a", "clear", "", "", "", series=series))

    assert drawn(0.0, 0.5, 1.0) == "▁▅█"
    assert drawn(0.02, 0.02) == "▁▁"  # a share of 2 % is low, however steady
    assert drawn(0.0, 3.0) == "▁█"
    assert drawn(*[0.0] * 50, *[1.0] * 50) == "▁" * 10 + "█" * 10
    assert drawn() == ""
