"""Which curves there are, and what they hold."""

from grpo.report.panels import MOST_POINTS, panels, thinned
from grpo.report.read import read_run


def by_title(found):
    return {panel.title: panel for panel in found}


def test_held_out_has_its_interval_and_training_stands_beside(run):
    main, _ = panels(read_run(run).rows, ["accuracy"])
    training, held_out = by_title(main)["Accuracy"].series
    assert (training.name, training.kind, training.x) == ("training, accuracy", "training", [1, 2, 3, 4])
    assert (held_out.name, held_out.kind, held_out.x) == ("held-out", "held-out", [0, 2, 4])
    assert held_out.y == [0.0, 0.4, 0.8]
    assert (held_out.low, held_out.high) == ([0.0, 0.2, 0.4], [0.2, 0.6, 1.0])
    assert by_title(main)["Accuracy"].top == 1.0


def test_a_value_that_is_not_finite_is_a_gap(run):
    (entropy,) = by_title(panels(read_run(run).rows)[0])["Entropy of the policy"].series
    assert entropy.y == [0.5, None, 0.5, 0.5]


def test_every_metric_is_in_some_panel_once(run):
    rows = read_run(run).rows
    main, others = panels(rows, ["accuracy"])
    assert [panel.title for panel in others] == [
        "eval/held-out/reward/accuracy",
        "eval/held-out/clipped_ratio",
        "tokens",
        "time/step",
        "packing/share",
    ]
    assert {s.name for s in by_title(main)["Score by rule"].series} == {"accuracy", "format"}
    assert "KL to the reference" not in by_title(main)  # the run has none
    assert by_title(main)["Engine against trainer, KL"].series[0].y[-1] == -4e-9


def test_no_rows_no_panels():
    assert panels([]) == ([], [])


def test_a_long_run_is_thinned_but_keeps_its_evaluations():
    rows = [{"step": step, "loss": 1.0} for step in range(10 * MOST_POINTS)]
    rows[777]["eval/held-out/pass@1"] = 0.5
    kept = thinned(rows)
    assert len(kept) == MOST_POINTS + 2
    assert kept[-1] is rows[-1]
    assert rows[777] in kept
    assert thinned(rows[:MOST_POINTS]) == rows[:MOST_POINTS]
