"""What holds of all answers: a value is right in any spelling, another value in none, and no text raises."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewards.accuracy import accuracy, grade

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from formulas import Tree, dressed, expressions, rationals, spelled, texts, written

checked = settings(deadline=None, max_examples=300)


@checked
@given(st.data(), rationals())
def test_a_number_is_right_in_any_spelling(data, value):
    gold, answer = data.draw(spelled(value)), data.draw(spelled(value).flatmap(dressed))
    assume("%" not in gold or not answer.endswith(("cm}", "units")))  # two units
    assert grade(gold, answer).outcome == "right"


@checked
@given(st.data(), rationals(), rationals(-5, 5))
def test_a_perturbed_number_is_wrong_in_any_spelling(data, value, change):
    assume(change != 0)
    gold = data.draw(spelled(value, rounds=False))
    other = value + change
    answer = data.draw(spelled(other).flatmap(dressed))
    assume("%" not in answer or other * 100 != value)  # `150%` may mean 150
    assert grade(gold, answer).outcome == "wrong"


@checked
@given(st.data(), rationals(), st.integers(1, 50))
def test_a_rounded_gold_is_not_a_whole_number_away(data, value, change):
    gold = data.draw(spelled(value))
    answer = data.draw(spelled(value + change))
    assume("%" not in gold + answer)
    assert grade(gold, answer).outcome == "wrong"


@checked
@given(st.data(), expressions())
def test_an_expression_is_right_in_any_order(data, tree):
    gold, answer = data.draw(written(tree)), data.draw(written(tree).flatmap(dressed))
    assert grade(gold, answer).outcome == "right"


@checked
@given(st.data(), expressions(), st.integers(1, 9))
def test_an_expression_and_a_number_more_is_wrong(data, tree, change):
    gold = data.draw(written(tree))
    answer = data.draw(written(Tree("+", (tree, Tree(str(change))))))
    assert grade(gold, answer).outcome == "wrong"


@st.composite
def lists(draw, least=2):
    """Different numbers, and the same in another order and spelling."""
    values = draw(st.lists(rationals(-50, 50), min_size=least, max_size=4, unique=True))
    order = draw(st.permutations(range(len(values))))
    gold = [draw(spelled(v, rounds=False).filter(lambda t: "," not in t)) for v in values]
    answer = [draw(spelled(values[k], rounds=False).filter(lambda t: "," not in t)) for k in order]
    return values, gold, [values[k] for k in order], answer


@checked
@given(lists())
def test_sets_have_no_order_and_tuples_have(drawn):
    values, gold, others, answer = drawn
    same_order = values == others
    braces = r"\{" + ", ".join(gold) + r"\}", r"\{" + ", ".join(answer) + r"\}"
    assert grade(*braces).outcome == "right"
    assert grade(", ".join(gold), " and ".join(answer)).outcome == "right"
    outcome = grade(f"({', '.join(gold)})", f"({', '.join(answer)})").outcome
    assert outcome == ("right" if same_order else "wrong")


@checked
@given(lists(), rationals(1, 9))
def test_a_set_with_another_number_is_wrong(drawn, change):
    values, gold, others, answer = drawn
    assume(others[-1] + change not in values)
    fewer, more, changed = answer[:-1], [*answer, "999"], [*answer[:-1], str(others[-1] + change)]
    for wrong in (fewer, more, changed):
        assert grade(r"\{" + ", ".join(gold) + r"\}", r"\{" + ", ".join(wrong) + r"\}").outcome == "wrong"
        assert grade(", ".join(gold), ", ".join(wrong)).outcome == "wrong"


@checked
@given(st.data(), rationals(-50, 50), rationals(1, 50), st.sampled_from("[("), st.sampled_from(")]"))
def test_an_interval_s_ends_and_their_kind_matter(data, low, length, left, right):
    ends = [
        data.draw(spelled(end, rounds=False).filter(lambda t: "," not in t)) for end in (low, low + length)
    ]
    again = [
        data.draw(spelled(end, rounds=False).filter(lambda t: "," not in t)) for end in (low, low + length)
    ]
    gold, answer = f"{left}{ends[0]}, {ends[1]}{right}", rf"{left}{again[0]}, {again[1]}{right}"
    assert grade(gold, answer).outcome == "right"
    other = {"[": "(", "(": "[", "]": ")", ")": "]"}
    assert grade(gold, rf"{other[left]}{again[0]}, {again[1]}{right}").outcome == "wrong"
    assert grade(gold, rf"{left}{again[0]}, {again[1]}{other[right]}").outcome == "wrong"
    assert grade(gold, rf"{left}{low - 1}, {again[1]}{right}").outcome == "wrong"


@checked
@given(st.integers(1, 12), st.integers(2, 40), st.integers(1, 9))
def test_roots_are_right_simplified_and_rationalised(a, b, c):
    assume(b**0.5 % 1 != 0)
    assert grade(rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b}}}").outcome == "right"
    assert grade(rf"\frac{{{c}}}{{\sqrt{{{b}}}}}", rf"\frac{{{c}\sqrt{{{b}}}}}{{{b}}}").outcome == "right"
    assert grade(rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b + 1}}}").outcome == "wrong"


@settings(deadline=None, max_examples=1000)
@given(texts())
def test_no_text_raises(text):
    boxed = [f"<answer>{text}</answer>", rf"so \boxed{{{text}}}", text]
    assert set(accuracy(prompts=[""] * 3, completions=boxed, answer=["7/2", r"\sqrt{2}", "x^2+1"])) <= {
        0.0,
        1.0,
    }


def test_decimals_that_go_on_are_spelled_as_they_are():
    from formulas import decimal_text, repeating_text

    assert [decimal_text(Fraction(n, d)) for n, d in ((3, 2), (-1, 8), (7, 1), (1, 3))] == [
        "1.5",
        "-0.125",
        "7",
        None,
    ]
    assert repeating_text(Fraction(1, 6)) == r"0.1\overline{6}"
    assert repeating_text(Fraction(1, 4)) is None
