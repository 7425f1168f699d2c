"""Several rules as one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import rewards
from rewards.combine import combine, read_entries
from rewards.errors import RuleError
from rewards.load import load
from rewards.runner import RuleSpec, Runner

RIGHT = "<think>a</think><answer>4</answer>"
UNFORMED = "<answer>4</answer>"
WRONG = "<think>a</think><answer>5</answer>"
TEXTS = [RIGHT, UNFORMED, WRONG, "?"]
GATED = [{"rule": "accuracy", "weight": 2, "gate": "format"}, {"rule": "format", "weight": 0.5}]


def scores(entries, texts=TEXTS, gold="4", ids=None, log=None, **limits):
    rule = load("combine", {"rules": entries, **limits}).function
    count = len(texts)
    return rule(
        prompts=[""] * count,
        completions=texts,
        answer=[gold] * count,
        completion_ids=ids or [[1]] * count,
        log_extra=log,
    )


def test_weights():
    plain = [{"rule": "accuracy", "weight": 2}, {"rule": "format", "weight": 0.5}]
    assert scores(plain) == [2.5, 2.0, 0.5, 0.0]
    assert scores([{"rule": "accuracy"}]) == [1.0, 1.0, 0.0, 0.0]


def test_a_gate_must_hold_before_a_rule_counts():
    assert scores(GATED) == [2.5, 0.0, 0.5, 0.0]
    only_gate = [{"rule": "accuracy", "gate": "format"}, {"rule": "format", "weight": 0}]
    assert scores(only_gate) == [1.0, 0.0, 0.0, 0.0]


def test_a_gate_may_want_less_or_more():
    def gated(bound):
        return [{"rule": "accuracy", "gate": {"tag_count": bound}}, {"rule": "tag_count", "weight": 0}]

    assert scores(gated(0.5)) == [1.0, 1.0, 0.0, 0.0]
    assert scores(gated(0.75)) == [1.0, 0.0, 0.0, 0.0]
    assert scores(gated(1.5)) == [0.0, 0.0, 0.0, 0.0]


def test_all_gates_of_a_rule_must_hold():
    entries = [
        {"rule": "accuracy", "gate": {"format": 1, "overlong": 0}},
        {"rule": "format", "weight": 0},
        {"rule": "overlong", "weight": 0, "max_tokens": 10, "cache": 0},
    ]
    texts = [RIGHT, RIGHT, UNFORMED]
    assert scores(entries, texts, ids=[[1] * 10, [1] * 11, [1]]) == [1.0, 0.0, 0.0]


def test_limits():
    entries = [
        {"rule": "accuracy", "weight": 3},
        {"rule": "overlong", "weight": 5, "max_tokens": 1, "cache": 0},
    ]
    ids = [[1], [1, 1], [1], [1, 1]]
    assert scores(entries, ids=ids) == [3.0, -2.0, 0.0, -5.0]
    assert scores(entries, ids=ids, low=-3) == [3.0, -2.0, 0.0, -3.0]
    assert scores(entries, ids=ids, high=1, low=-1) == [1.0, -1.0, 0.0, -1.0]
    assert scores(entries, ids=ids, high=-1) == [-1.0, -2.0, -1.0, -5.0]


def test_a_rule_that_gives_none_is_left_out_and_holds_as_a_gate():
    entries = [{"rule": "accuracy"}, {"rule": "format", "gate": "accuracy"}]
    assert scores(entries, gold=None) == [1.0, 0.0, 1.0, 0.0]
    assert scores([{"rule": "accuracy"}], gold=None) == [None] * 4


def test_every_score_is_logged():
    logged = {}
    scores(
        [*GATED, {"rule": "format", "strict": False}], log=lambda name, values: logged.update({name: values})
    )
    assert logged["accuracy"] == [1.0, 1.0, 0.0, 0.0]
    assert logged["format"] == [1.0, 0.0, 1.0, 0.0]
    assert logged["format_2"] == [1.0, 0.0, 1.0, 0.0]
    assert logged["format/thinks"] == [1.0, 0.0, 1.0, 0.0]
    assert logged["accuracy/verdict"] == ["right", "right", "wrong", "unextracted"]
    assert logged["graded"] == logged["accuracy"]


def test_what_golds_are_tried_on():
    info = load("combine", {"rules": GATED}).info
    assert (info.grades_answer, info.gold_extra) == (True, "graded")
    assert not load("combine", {"rules": [{"rule": "format"}]}).info.grades_answer
    logged = {}
    inner = {"rule": "combine", "rules": [{"rule": "accuracy", "weight": 7}]}
    entries = [{"rule": "cosine_length", "max_tokens": 10}, inner, {"rule": "choice"}]
    scores(entries, gold="B", texts=["<answer>B</answer>"], log=lambda n, v: logged.update({n: v}))
    # the score of the cosine is below 1, that of the inner sum 7: what they grade by is what counts
    assert logged["cosine_length"][0] < 1
    assert logged["combine"] == [7.0]
    assert logged["graded"] == [1.0]
    scores(entries, gold="4", texts=["<answer>4</answer>"], log=lambda n, v: logged.update({n: v}))
    assert logged["choice"] == [None]
    assert logged["graded"] == [1.0]
    scores(entries, gold="4", texts=["<answer>5</answer>"], log=lambda n, v: logged.update({n: v}))
    assert logged["graded"] == [0.0]


def test_own_and_async_rules_metrics_and_marks(rule_file):
    path = rule_file(
        """
        async def late(completions, trainer_state, log_metric, level):
            log_metric("step", trainer_state.global_step)
            return level
        late.whole_group = True
        late.warm = lambda: warmed.append(1)
        warmed = []
        """
    )
    loaded = load("combine", {"rules": [{"rule": f"{path}:late", "weight": 2}]})
    assert loaded.info.whole_group
    loaded.function.warm()
    logged = {}
    found = loaded.function(
        prompts=["", ""],
        completions=["", ""],
        level=[3, None],
        trainer_state=SimpleNamespace(global_step=9),
        log_extra=lambda name, values: logged.update({name: values}),
        log_metric=None,
    )
    assert found == [6.0, None]
    assert logged == {"late": [3.0, None], "late/step": [9.0, 9.0]}
    import sys

    (module,) = [m for name, m in sys.modules.items() if getattr(m, "__file__", None) == path]
    assert module.warmed == [1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "combine: has no rules. Write rules: "),
        ({"rules": []}, "combine: has no rules"),
        ({"rules": "accuracy"}, "option 'rules' is 'accuracy'"),
        ({"rules": [{"weight": 1}]}, "an entry names no rule"),
        ({"rules": [{"rule": "acuracy"}]}, "no rule is named 'acuracy'. Did you mean 'accuracy'?"),
        ({"rules": [{"rule": "format", "strct": True}]}, "no option 'strct'. Did you mean 'strict'?"),
        ({"rules": [{"rule": "format", "weight": "x"}]}, "combine, format: weight is 'x'. Give a number"),
        ({"rules": [{"rule": "format", "weight": float("nan")}]}, "weight is nan"),
        ({"rules": [{"rule": "format", "gate": "format"}]}, "gate 'format' is no other rule here"),
        (
            {"rules": [{"rule": "accuracy", "gate": "fromat"}, {"rule": "format"}]},
            "combine, accuracy: gate 'fromat' is no other rule here. Did you mean 'format'?",
        ),
        ({"rules": [{"rule": "accuracy", "gate": ["format"]}, {"rule": "format"}]}, "gate is ['format']"),
        ({"rules": [{"rule": "accuracy", "gate": {"format": "x"}}, {"rule": "format"}]}, "gate is {'format'"),
        ({"rules": [{"rule": "format"}], "low": 1, "high": 1}, "low 1 is not below high 1"),
    ],
)
def test_what_does_not_fit(options, said):
    with pytest.raises(RuleError) as error:
        load("combine", options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_reading_entries_loads_no_rule():
    (entry,) = read_entries(rules=[{"rule": "nowhere.py:f", "size": 3}], low=None, high=None)
    assert (entry.name, entry.weight, dict(entry.options)) == ("f", 1.0, {"size": 3})


def test_in_the_runner_and_from_python():
    spec = RuleSpec("combine", {"rules": GATED})
    with Runner([spec], workers=1) as runner:
        assert runner.infos()[0].gold_extra == "graded"
        runner.submit(0, [""] * 4, TEXTS, {"answer": ["4"] * 4})
        ((_, found, _),) = runner.wait()
    assert [row[0].score for row in found] == [2.5, 0.0, 0.5, 0.0]
    assert found[0][0].extras["accuracy/verdict"] == "right"
    made = rewards.get("combine")(rules=GATED)
    assert made([""], [RIGHT], answer=["4"]) == [2.5]
    assert (made.__name__, combine.makes_rule) == ("combine", True)
