from grpo.trial_summary import outcome, quantile, rates, summarise
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


def test_a_score_over_1_is_as_right_as_1_where_labels_are_right_or_wrong():
    scores = [Score(1.1, "ok", 0.0), Score(0.4, "ok", 0.0), Score(0.0, "timeout", 0.0)]
    found = summarise("r", scores, [1.0, 0.0, 0.0])
    assert [one["line"] for one in found.disagreements] == [3]  # the timeout is ungraded
    assert [one["line"] for one in summarise("r", scores, [1.0, 0.4, 0.0]).disagreements] == [1]
