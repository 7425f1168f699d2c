import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from eval.run import summarise
from grpo.protocols import Measured, read_protocols
from grpo.summary import print_summary, write_summary
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score


def group(name: str, right: bool, text: str) -> Group:
    rollout = Rollout(
        name,
        0,
        (1,),
        (2,) * len(text),
        (True,) * len(text),
        (0.0,) * len(text),
        (0,) * len(text),
        text,
        "stop",
    )
    thinks = {"thinks": float("<think>" in text)}
    scores = (Score(float(right), "ok", 0.0), Score(1.0, "ok", 0.0, thinks))
    return Group(Prompt(name, name, "5", f"{name} 2+3=", (1,)), (rollout,), (scores,))


def evaluation(version: int, *groups: Group):
    return summarise(
        groups,
        ["accuracy", "format"],
        [True, False],
        name="report",
        version=version,
        prompts=len(groups),
        samples=1,
    )


BASE = evaluation(0, group("alpha", True, "5"), group("beta", False, "9"), group("gamma", False, "7"))
TRAINED = evaluation(
    60,
    group("alpha", True, "5"),
    group("beta", True, "<think>so \x1b[2J[red]</think>5"),
    group("gamma", False, "6"),
)


def test_the_gain_is_counted_against_the_base_at_its_best(tmp_path):
    rows = [
        Measured("raw, T=1", "accuracy", (0.1, 0.05, 0.15), (0.5, 0.45, 0.55)),
        Measured("raw, T=1", "accuracy/2", (0.2, 0.15, 0.25), (0.9, 0.85, 0.95)),
        Measured("qa, 8 shots, T=0", "accuracy", (0.3, 0.25, 0.35), (0.6, 0.55, 0.65)),
        Measured("qa, 8 shots, T=0", "accuracy/2", (0.4, 0.34, 0.46), (0.6, 0.55, 0.65)),
    ]
    write_summary(tmp_path, BASE, TRAINED, protocols=rows, steps=60, seconds=12.5, tokens=4321)
    read = json.loads((tmp_path / "summary.json").read_text())["protocols"]
    assert [Measured.from_json(row) for row in read] == rows
    told = shown(tmp_path, protocols=rows)
    assert "+0.200 over the base at its best (qa, 8 shots, T=0; accuracy/2)" in told
    assert "the intervals do not overlap" in told
    assert "the intervals overlap" in shown(
        tmp_path, protocols=[*rows[:3], replace(rows[3], base=(0.4, 0.2, 0.56))]
    )
    assert "over the base" not in shown(tmp_path, protocols=rows[:1])


def test_a_figure_without_an_interval_counts_for_no_gain(tmp_path):
    (tmp_path / "eval").mkdir()
    known, unknown = {"value": 0.5, "interval": [0.4, 0.6]}, {"value": 3.0, "interval": [None, None]}
    for end in ("base", "trained"):
        report = {"set": "held-out-report", "rules": {"accuracy": known, "ours": unknown}}
        (tmp_path / "eval" / f"{end}-held-out-report.json").write_text(json.dumps(report))
    numbers = (0.5, 0.4, 0.6)
    found = read_protocols(tmp_path, "raw, T=1", ["accuracy", "ours"])
    assert found == [Measured("raw, T=1", "accuracy", numbers, numbers)]


def shown(folder, **options) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_summary(
        console, folder, BASE, TRAINED, steps=60, seconds=12.5, tokens=4321, next_command="x", **options
    )
    return console.file.getvalue()


def test_summary_json_is_what_the_run_folder_promises(tmp_path):
    told = write_summary(tmp_path, BASE, TRAINED, steps=60, seconds=12.5, tokens=4321)
    read = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert read == json.loads(json.dumps(told))
    assert (read["steps"], read["seconds"], read["tokens"]) == (60, 12.5, 4321)
    assert (read["base"]["pass@1"], read["trained"]["pass@1"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    low, high = read["trained"]["interval"]
    assert low < 2 / 3 < high
    assert read["base"]["styles"]["thinking"]["share"]["value"] == 0
    assert read["base"]["styles"]["thinking"]["pass@1"]["value"] is None  # nothing thought: not known, not 0
    assert read["trained"]["styles"]["thinking"]["share"]["value"] == pytest.approx(1 / 3)
    assert read["trained"]["styles"]["thinking"]["pass@1"]["value"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def printed(folder, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    write_summary(folder, BASE, TRAINED, steps=60, seconds=125, tokens=43210)
    print_summary(
        console,
        folder,
        BASE,
        TRAINED,
        steps=60,
        seconds=125,
        tokens=43210,
        next_command="grpo train demo --resume train.steps=120",
    )
    return console.file.getvalue()


def test_the_end_of_a_run_tells_the_difference_and_what_is_next(tmp_path):
    text = printed(tmp_path)
    for part in (
        "base (step 0)",
        "trained (step 60)",
        "pass@1",
        "0.333 [",
        "0.667 [",
        "share thinking",
        "length, tokens",
    ):
        assert part in text
    assert "60 steps, 43.2k tokens sampled, 2:05" in text
    assert "grpo train demo --resume train.steps=120" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_policy_that_got_worse_is_called_that(tmp_path):
    groups = [group(f"p{i}", True, "5") for i in range(20)]
    wrong = [group(f"p{i}", False, "6") for i in range(20)]
    for base, trained, worse in ((groups, wrong, True), (groups, groups[:19] + wrong[19:], False)):
        console = Console(file=io.StringIO(), width=200)
        ends = evaluation(0, *base), evaluation(1, *trained)
        print_summary(console, tmp_path, *ends, steps=1, seconds=1, tokens=1, next_command="x")
        assert ("worse than its base" in console.file.getvalue()) is worse


def test_before_and_after_are_of_one_prompt_that_improved(tmp_path):
    text = printed(tmp_path)
    assert "beta 2+3= (answer 5)" in text
    assert "alpha" not in text
    assert r"so \x1b[2J[red]" in text
    assert text.index("│ 9") < text.index("<think>so")


def test_only_files_that_exist_are_listed(tmp_path):
    (tmp_path / "curves.png").touch()
    text = printed(tmp_path, width=200)
    assert f"curves   {tmp_path / 'curves.png'}" in text
    assert "checkpoints" not in text


def test_no_common_prompt_shows_no_completion(tmp_path):
    console = Console(file=io.StringIO(), width=100)
    other = evaluation(60, group("delta", True, "5"))
    print_summary(console, tmp_path, BASE, other, steps=1, seconds=1, tokens=1, next_command="x")
    assert "first completion" not in console.file.getvalue()
