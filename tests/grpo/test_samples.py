import dataclasses
import datetime
import json

import pyarrow.parquet as pq
import pytest

from grpo.errors import UserError
from grpo.samples import groups_of, read_samples, rule_names, sample_files, sample_id, write_samples
from grpo.types import Group, Prompt, Rollout
from rewards.score import Score


def group(**changes) -> Group:
    rollouts = (
        Rollout(
            "p", 0, (1,), (2, 3, 4), (True, False, True), (-1.0, -9.0, -2.0), (5, 0, 6), "é\x1b\n", "stop"
        ),
        Rollout("p", 1, (1,), (), (), (), (), "", "length"),
    )
    scores = (
        (Score(1.0, "ok", 0.1, {"extracted": "2", "thinks": 1.0}), Score(0.5, "ok", 0.1)),
        (Score(None, "error", 0.1, {"error": "boom"}), Score(0.0, "timeout", 0.1)),
    )
    values = {"rewards": (1.5, float("nan")), "advantages": (0.7, 0.0)} | changes
    return Group(
        Prompt("p", "1+1", "2", "Q: 1+1", (1,), {"level": 3, "day": datetime.date(2024, 5, 1)}),
        rollouts,
        scores,
        **values,
    )


def test_every_column_of_every_completion(tmp_path):
    path = write_samples(tmp_path, 10, [group(), group()], ["accuracy", "format"])
    assert path == tmp_path / "samples" / "step-000010.parquet"
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 4
    extras = json.loads(rows[0].pop("extras/accuracy"))
    assert extras == {"extracted": "2", "thinks": 1.0}
    assert rows[0] == {
        "step": 10,
        "prompt_id": "p",
        "sample": 0,
        "prompt": "Q: 1+1",
        "question": '"1+1"',
        "columns": '{"level": 3, "day": "2024-05-01"}',
        "completion": "é\x1b\n",
        "token_ids": [2, 3, 4],
        "pieces": None,  # no tokenizer was given
        "logprobs": [-1.0, None, -2.0],  # the second was not sampled
        "answer": "2",
        "finish_reason": "stop",
        "tokens": 2,
        "reward": 1.5,
        "advantage": 0.7,
        "mean_logprob": -1.5,  # of the tokens the policy sampled
        "version": 5,
        "score/accuracy": 1.0,
        "status/accuracy": "ok",
        "score/format": 0.5,
        "status/format": "ok",
        "extras/format": "{}",
    }
    assert (rows[1]["score/accuracy"], rows[1]["status/accuracy"]) == (None, "error")
    assert (rows[1]["mean_logprob"], rows[1]["version"], rows[1]["status/format"]) == (None, None, "timeout")


def test_groups_without_rewards_yet(tmp_path):
    path = write_samples(tmp_path, 1, [group(rewards=(), advantages=())], ["accuracy", "format"])
    assert pq.read_table(path)["reward"].to_pylist() == [None, None]


def test_columns_are_the_same_when_all_scores_are_missing(tmp_path):
    full = pq.read_schema(write_samples(tmp_path, 1, [group()], ["accuracy", "format"]))
    assert pq.read_schema(write_samples(tmp_path, 2, [], ["accuracy", "format"])) == full


def test_a_write_cut_short_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_samples(tmp_path, 1, [group()], ["accuracy", "format"])
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path, 1, [group(), group()], ["accuracy", "format"])
    assert path.read_bytes() == before


def test_samples_are_read_again(tmp_path):
    for step in (10, 9):
        write_samples(tmp_path, step, [group(), group()], ["accuracy", "format"])
    nine, ten = sample_files(tmp_path)
    assert (nine.name, ten.name) == ("step-000009.parquet", "step-000010.parquet")
    assert rule_names(nine) == ["accuracy", "format"]
    rows = read_samples(ten, ["step", "prompt_id", "sample"])
    assert list(rows[0]) == ["step", "prompt_id", "sample"]
    assert [sample_id(row) for row in rows] == ["10/p/0", "10/p/1", "10/p/0", "10/p/1"]
    assert list(read_samples(ten)[0]) == pq.read_schema(ten).names


def test_a_lone_surrogate_in_a_column_does_not_stop_a_run(tmp_path):
    broken = dataclasses.replace(group().prompt, columns={"note": "\ud800é"})
    path = write_samples(tmp_path, 1, [dataclasses.replace(group(), prompt=broken)], ["accuracy", "format"])
    assert json.loads(read_samples(path)[0]["columns"]) == {"note": "\ud800é"}


def test_rows_are_grouped_by_prompt():
    rows = [{"prompt_id": name, "sample": i} for i, name in enumerate("abba")]
    assert [[row["sample"] for row in found] for found in groups_of(rows)] == [[0, 3], [1, 2]]


def test_what_is_no_sample_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no samples of a run"):
        sample_files(tmp_path)
    path = write_samples(tmp_path, 1, [group()], ["accuracy", "format"])
    with pytest.raises(UserError, match="has no column 'colour'"):
        read_samples(path, ["step", "colour"])
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"step-000001\.parquet: cannot be read") as error:
        read_samples(path)
    assert "\n" not in str(error.value)
