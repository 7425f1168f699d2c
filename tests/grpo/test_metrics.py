import json
import math

import pytest

from grpo.errors import UserError
from grpo.metrics import MetricsLog, read_metrics, step_metrics
from grpo.types import Group, Prompt, Rollout

PROMPT = Prompt("p", "1+1", "2", "1+1", (1,))


def rollout(sampled: str = "yyy", versions: tuple[int, ...] | None = None, reason: str = "stop") -> Rollout:
    mask = tuple(letter == "y" for letter in sampled)
    versions = versions or (0,) * len(mask)
    return Rollout("p", 0, (1,), (2,) * len(mask), mask, (-1.0,) * len(mask), versions, "x", reason)


def write(folder, *steps, resume_at=None, **metrics):
    log = MetricsLog(folder, resume_at)
    for step in steps:
        log.write(step, metrics or {"loss": float(step)})
    log.close()


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(1, {"loss": 0.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 0.5}


def test_what_is_not_finite_is_null_and_named(tmp_path):
    write(tmp_path, 1, loss=math.nan, grad_norm=math.inf, lr=0.1)
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1,
        "loss": None,
        "grad_norm": None,
        "lr": 0.1,
        "not_finite": ["loss", "grad_norm"],
    }


def test_resume_drops_later_steps_and_a_torn_line(tmp_path):
    write(tmp_path, 0, 1, 2, 3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    write(tmp_path, 3, resume_at=2)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3]


def test_resume_repairs_a_torn_line_of_a_kept_step(tmp_path):
    write(tmp_path, 1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2')
    write(tmp_path, 2, resume_at=2)
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}]


def test_a_new_run_starts_a_new_file(tmp_path):
    write(tmp_path, 1, 2)
    write(tmp_path, 0)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0]


def test_reading_passes_over_a_line_still_being_written(tmp_path):
    write(tmp_path, 1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "loss": 1.0}')
    assert len(read_metrics(tmp_path)) == 1


@pytest.mark.parametrize("bad", ["nonsense", "[1]", '{"loss": 1}', "7"])
def test_a_spoilt_line_is_named(tmp_path, bad):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{bad}\n{{"step": 2}}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl:2: not a line of metrics"):
        read_metrics(tmp_path)


def test_no_file_is_no_lines(tmp_path):
    assert read_metrics(tmp_path) == []


def test_step_metrics_by_hand():
    tool = rollout("yynny", versions=(3, 3, 0, 0, 4))  # two tokens of a tool's text in the middle
    groups = [
        Group(PROMPT, (tool, rollout("y", (4,), "length")), rewards=(1.0, 0.0)),
        Group(PROMPT, (rollout("yy", (4, 4)), rollout("yy", (4, 4))), rewards=(0.1 + 0.2, 0.3)),
        Group(PROMPT, (rollout("yy", (4, 4)), rollout("yy", (4, 4))), rewards=(1.0, math.nan)),
    ]
    found = step_metrics(groups, version=4, dropped=2)
    rewards = [1.0, 0.0, 0.3, 0.3, 1.0]
    mean = sum(rewards) / 5
    assert found["reward/mean"] == pytest.approx(mean)
    assert found["reward/std"] == pytest.approx(math.sqrt(sum((r - mean) ** 2 for r in rewards) / 4))
    assert found["completions/mean_length"] == pytest.approx((3 + 1 + 2 + 2 + 2 + 2) / 6)
    assert found["completions/max_length"] == 3
    assert found["completions/clipped_ratio"] == pytest.approx(1 / 6)
    assert found["groups/zero_std_ratio"] == pytest.approx(
        2 / 3
    )  # float noise is no signal; nor is one reward
    assert found["groups/dropped"] == 2
    assert found["staleness/mean"] == pytest.approx(2 / 12)  # the tool's tokens have no version
    assert found["tokens"] == 12


def test_step_metrics_without_any_reward():
    found = step_metrics([Group(PROMPT, (rollout(), rollout()), rewards=(math.nan, math.nan))], version=0)
    assert math.isnan(found["reward/mean"])
    assert found["groups/zero_std_ratio"] == 1
