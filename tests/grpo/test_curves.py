import math

import matplotlib.image
import numpy as np
import pytest

from grpo import curves
from grpo.curves import draw_curves
from grpo.errors import UserError
from grpo.metrics import MetricsLog


def write(folder, steps=12, rules=("accuracy", "format"), every=3):
    log = MetricsLog(folder)
    for step in range(steps + 1):
        metrics = {}
        if step:
            metrics = {f"reward/{rule}": step / steps for rule in rules}
            metrics |= {"reward/mean": 1.0, "reward/std": 0.1, "completions/mean_length": 14.0 + step}
            metrics["policy/entropy"] = math.nan if step == 5 else 1 / step
        for name in ("select", "report") if step in (0, steps) else ("select",):
            if step % every == 0:
                value = 0.2 + 0.6 * step / steps
                metrics[f"eval/{name}/pass@1"] = value
                metrics |= {f"eval/{name}/pass@1_low": value - 0.1, f"eval/{name}/pass@1_high": value + 0.1}
                metrics[f"eval/{name}/mean_length"] = 14.0 + step
        log.write(step, metrics)
    log.close()
    return folder


@pytest.fixture
def panels(monkeypatch):
    """The axes of the figure drawn, by title."""
    seen = {}
    finish = curves._finish

    def keep(panel, title, unit):
        finish(panel, title, unit)
        seen[title] = panel

    monkeypatch.setattr(curves, "_finish", keep)
    return seen


def lines(panel):
    return {line.get_label(): line.get_xydata().tolist() for line in panel.get_lines()}


def test_the_picture_is_a_png_of_readme_width(tmp_path):
    path = draw_curves(write(tmp_path))
    assert path == tmp_path / "curves.png"
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[1] == 1200
    assert np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 20
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


def test_each_panel_draws_its_metrics(tmp_path, panels):
    draw_curves(write(tmp_path))
    accuracy = lines(panels["Accuracy"])
    assert accuracy["training"] == [[step, step / 12] for step in range(1, 13)]
    assert accuracy["select"] == [[step, pytest.approx(0.2 + 0.05 * step)] for step in (0, 3, 6, 9, 12)]
    assert [step for step, _ in accuracy["report"]] == [0, 12]
    assert lines(panels["Completion length"])["select"][-1] == [12, 26]
    assert set(lines(panels["Reward by rule (training)"])) == {"accuracy", "format"}
    assert [step for step, _ in lines(panels["Entropy of the policy"])["policy"]] == [
        step for step in range(1, 13) if step != 5
    ]  # what was not finite is not drawn


def test_intervals_are_drawn_as_band_or_bars(tmp_path, panels):
    draw_curves(write(tmp_path))
    band, bars = panels["Accuracy"].collections
    assert band.get_paths()[0].get_extents().ymin == pytest.approx(0.1)
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [
        [pytest.approx(0.1), pytest.approx(0.3)],
        [pytest.approx(0.7), pytest.approx(0.9)],
    ]


def test_a_grader_of_another_name(tmp_path, panels):
    draw_curves(write(tmp_path, rules=("mine",)), grader="mine")
    assert "training" in lines(panels["Accuracy"])


def test_a_run_of_one_step_and_one_without_evaluations(tmp_path, panels):
    draw_curves(write(tmp_path / "one", steps=1))
    assert lines(panels["Entropy of the policy"])["policy"] == [[1, 1.0]]
    draw_curves(write(tmp_path / "none", every=1000))
    assert set(lines(panels["Accuracy"])) >= {"training"}


def test_a_folder_without_metrics_is_named(tmp_path):
    with pytest.raises(UserError, match=r"metrics.jsonl: no metrics to draw"):
        draw_curves(tmp_path)
