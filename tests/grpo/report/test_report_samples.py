"""Which completions a page holds, and how."""

import json

import pytest

from grpo.errors import UserError
from grpo.report import samples
from grpo.report.samples import read_step, select, spread, step_files


def test_a_step_with_its_scores_texts_and_log_probs(run):
    step = read_step(step_files(run)[3])
    assert (step.step, step.rules, step.prompts, len(step.groups)) == (3, ["accuracy", "format"], 3, 3)
    group = step.groups[1]
    assert group["answer"] == "42"
    first, second = group["rows"]
    assert [step.texts[number] for number in first["pieces"]][:3] == ["<think>", "é", "step3"]
    assert first["logprobs"] == [0, -1000, -2000, -3000, -4000]
    assert (second["reward"], second["advantage"], second["scores"]) == (1.0, 0.5, [1.0, None])
    assert second["status"] == ["ok", "error"]


def test_nothing_that_acts_on_a_reader_is_left(run, hostile):
    text = json.dumps(read_step(step_files(run)[1]).to_json(), ensure_ascii=False)
    assert "\u202e" in hostile
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert r"\\u202e\\x1b[2J" in text  # written out


def test_an_older_file_gives_whole_completions(make_run):
    row = read_step(step_files(make_run(pieces=False))[2]).groups[0]["rows"][1]
    assert row["text"] == "right</answer>"
    assert "pieces" not in row


def test_a_long_completion_keeps_its_ends(run, monkeypatch):
    monkeypatch.setattr(samples, "HEAD", 2)
    monkeypatch.setattr(samples, "TAIL", 1)
    step = read_step(step_files(run)[1])
    row = step.groups[0]["rows"][0]
    assert [step.texts[number] for number in row["pieces"]] == ["<think>", "é", "\n"]
    assert row["logprobs"] == [0, -1000, -4000]
    assert (row["left_out"], row["head"]) == (2, 2)
    assert "left_out" not in step.groups[0]["rows"][1]


def test_steps_are_spread_evenly():
    assert spread(range(1, 101), 3) == [1, 50, 100] or spread(range(1, 101), 3) == [1, 51, 100]
    assert spread([1, 2], 5) == [1, 2]
    assert spread([1, 2, 3], 1) == [3]


def test_what_is_taken_is_bounded(run):
    files = step_files(run)
    chosen = list(select(files, steps=2, groups=2, room=10**6))
    assert [(step.step, len(step.groups), step.prompts) for step in chosen] == [(1, 2, 3), (4, 2, 3)]
    size = len(json.dumps(chosen[0].groups[0], ensure_ascii=False, separators=(",", ":")).encode())
    texts = len(json.dumps(chosen[0].texts, ensure_ascii=False).encode())
    room = 4 * (texts + size + 1)
    assert [len(step.groups) for step in select(files, steps=4, groups=3, room=room)] == [1] * 4
    assert [len(step.groups) for step in select(files, steps=4, groups=3, room=4)] == [0] * 4


def test_no_samples_yet_and_none_that_can_be_read(tmp_path):
    assert step_files(tmp_path) == {}
    assert list(select({}, steps=3, groups=3, room=10)) == []
    (tmp_path / "samples").mkdir()
    file = tmp_path / "samples" / "step-000001.parquet"
    file.write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        read_step(file)
