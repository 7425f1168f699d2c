from grpo.trial_summary import outcome, quantile, rates
from rewards.score import Score


def test_quantile():
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert quantile([1.0], 0.5) == 1.0


def test_outcomes():
    scores = [Score(1.0, "ok", 0), Score(2.0, "ok", 0), Score(0.99, "ok", 0), Score(None, "none", 0)]
    assert [outcome(score) for score in scores] == ["right", "right", "wrong", "ungraded"]
    assert outcome(Score(0.0, "timeout", 0)) == "ungraded"  # it scores 0, but nobody judged it


def test_rates():
    found = {
        "right": {"right": 5, "wrong": 2, "ungraded": 1},
        "wrong": {"right": 3, "wrong": 4, "ungraded": 9},
    }
    assert rates(found) == {"false positives": (3, 16), "false negatives": (3, 8)}
