"""Values for a rule's options."""

from __future__ import annotations

import pytest

from rewards.errors import RuleError
from rewards.load import load
from rewards.options import check_options, options_of

RULES = """
    from __future__ import annotations
    from typing import TYPE_CHECKING, Any
    if TYPE_CHECKING:
        from elsewhere import Column

    def brevity(completions, *, target: int = 60, slope: float = 1.0, words: tuple[str, ...] = (),
                flag: bool = False, either: int | None = None, anything=None, **columns):
        return [0.0 for _ in completions]

    def hidden(completions, column: Column = None, *, target: int = 60):
        return [0.0 for _ in completions]

    class Own: pass

    def odd(completions, *, own: Own = Own(), **columns):
        return [0.0 for _ in completions]

    def make(*, size: int, name: str = "x"):
        def rule(completions, **columns):
            return [float(size)] * len(completions)
        return rule
    make.makes_rule = True
"""


@pytest.fixture
def rules(rule_file):
    return rule_file(RULES)


@pytest.mark.parametrize(
    "options",
    [
        {"target": 5},
        {"slope": 2},
        {"slope": 0.5},
        {"words": ["a", "b"]},
        {"either": None},
        {"either": 3},
        {"anything": {"a": [1]}},
        {"anything": {1, 2}},  # no value of JSON's
    ],
)
def test_values_that_fit(rules, options):
    assert load(f"{rules}:brevity", options).options == options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "long"}, "option 'target' is 'long': input should be a valid integer"),
        ({"target": "5"}, "option 'target' is '5'"),
        ({"target": 5.5}, "option 'target' is 5.5"),
        ({"target": True}, "option 'target' is True"),
        ({"flag": "no"}, "option 'flag' is 'no'"),
        ({"flag": 1}, "option 'flag' is 1"),
        ({"words": "ab"}, "option 'words' is 'ab'"),
        ({"slope": "x"}, "option 'slope' is 'x'"),
        ({"either": "x"}, "option 'either' is 'x'"),
    ],
)
def test_values_of_another_type(rules, options, said):
    with pytest.raises(RuleError) as error:
        load(f"{rules}:brevity", options)
    assert said in str(error.value)
    assert "brevity" in str(error.value)
    assert "\n" not in str(error.value)


def test_annotations_that_cannot_be_read_check_nothing(rules):
    assert load(f"{rules}:hidden", {"target": "long"}).options == {"target": "long"}
    assert load(f"{rules}:odd", {"own": 3}).options == {"own": 3}


def test_a_registered_rule_checks_too():
    with pytest.raises(RuleError, match="format: option 'strict' is 'no'"):
        load("format", {"strict": "no"})


def test_a_function_that_makes_a_rule(rules):
    loaded = load(f"{rules}:make", {"size": 3})
    assert loaded.function(completions=["", ""]) == [3.0, 3.0]
    assert (loaded.info.name, dict(loaded.options), loaded.option_names) == ("make", {}, frozenset())
    for options, said in (
        ({}, "option 'size' is not set. Write size: …"),
        ({"size": "x"}, "option 'size' is 'x'"),
        ({"size": 1, "nmae": "y"}, "no option 'nmae'. Did you mean 'name'?"),
    ):
        with pytest.raises(RuleError) as error:
            load(f"{rules}:make", options)
        assert said in str(error.value)


def test_a_rules_own_check_sees_all_options():
    def rule(completions, *, a=1, b=2): ...

    def check(*, a, b):
        seen.append((a, b))

    seen: list[tuple[int, int]] = []
    rule.check = check
    check_options(rule, {"b": 5}, "rule")
    assert seen == [(1, 5)]
    assert list(options_of(rule)) == ["a", "b"]
