"""Signs of single completions and groups, each with what shows it and what must not."""

import pytest

from grpo.hacking import signs


def test_repetition_is_the_share_of_repeated_4_grams():
    assert signs.repetition("a b c d e") == 0.0
    assert signs.repetition("a b c d a b c d") == pytest.approx(1 - 4 / 5)  # abcd bcda cdab dabc abcd
    assert signs.repetition("no no") == 0.0  # too short for any
    assert signs.repetition("ha " * 100) == pytest.approx(1 - 1 / 97)


def test_only_the_end_counts_so_that_length_alone_is_no_repetition():
    distinct = " ".join(map(str, range(signs.WINDOW)))
    assert signs.repetition("ha " * 500 + distinct) == 0.0
    assert signs.repetition(distinct + " ha" * 500) > 0.9


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{4}", ["4"]),
        (r"\boxed{4} or \boxed{5}", ["4", "5"]),
        (r"\boxed{\frac{1}{2}}, again $\boxed{ \frac{1}{2} }$", [r"\frac{1}{2}"] * 2),
        (r"<think>\boxed{3}, \boxed{9}</think><answer>\boxed{4}</answer>", ["4"]),
        ("<answer>4</answer><answer>5</answer>", ["4", "5"]),
        (r"\boxed{\boxed{4}}", ["4"]),
        (r"\boxed{4", ["4"]),
        ("<answer>$4$", ["4"]),
        ("none", []),
    ],
)
def test_answers(text, found):
    assert signs.answers(text) == found


def test_several_answers_are_different_ones():
    assert signs.several_answers(r"\boxed{4} \boxed{5}") == 1.0
    assert signs.several_answers(r"\boxed{4}. Final: \boxed{ 4 }") == 0.0
    assert signs.several_answers(r"<think>\boxed{5}?</think>\boxed{4}") == 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think></think><answer>4</answer>", 1.0),
        (r"\boxed{4}", 1.0),
        (r"The final answer is: \boxed{4} because 1 + 2 + 3 + 4 + 5 + 6 is more", 1.0),
        ("<think>2+2=4, 4+0=4</think><answer>4</answer>", 0.0),
        ("2+2=4, 4+0=4</think><answer>4</answer>", 0.0),  # the prompt opened the thought
        (r"We add two and two, which makes four: \boxed{4}", 0.0),
        ("<think>2+2=4, 4+0=4", None),  # no answer
    ],
)
def test_answers_without_reasoning(text, value):
    assert signs.bare(text) == value


ENGLISH = "We add the two numbers and carry the one to the next place, "
CHINESE = "我们把两个数相加然后进位到下一位得到最后的结果"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (ENGLISH, 0.0),
        (CHINESE, 0.0),
        (ENGLISH + CHINESE, 1.0),
        (ENGLISH + "сложим эти числа и получим ответ", 1.0),
        (ENGLISH + "so α + β = γ and ℝ, π π", 0.0),
        (CHINESE + r"因此 x = \frac{1}{2} \text{} y 和 z <answer>5</answer>", 0.0),
        ("これはカタカナと漢字の混ざった日本語の文章です。", 0.0),
        ("cm 厘米", 0.0),  # too little to be a language
    ],
)
def test_language_mixing(text, value):
    assert signs.mixed(text) == value


def test_right_by_the_loosest_rung_alone():
    assert signs.loose({"verdict": "right", "rung": "math_verify"}) == 1.0
    assert signs.loose({"verdict": "right", "rung": "value"}) == 0.0
    assert signs.loose({"verdict": "right", "rung": "number"}) == 0.0
    assert signs.loose({"verdict": "right", "rung": "string"}) == 0.0
    assert signs.loose({"verdict": "wrong", "rung": "math_verify"}) is None
    assert signs.loose({"thinks": 1.0}) is None


def test_the_loosest_rung_is_the_grader_s():
    """Under another name it would never be seen."""
    import rewards

    logged = {}
    rewards.get("accuracy")(
        prompts=["q"],
        completions=[r"\boxed{\int_0^1 x\,dx}"],
        answer=[r"\int_0^1 y\,dy"],
        log_extra=lambda name, values: logged.update({name: values}),
    )
    assert (logged["verdict"], logged["rung"]) == (["right"], [signs.LOOSEST_RUNG])


def test_twins_within_a_group():
    assert signs.twins_within(["a", "b", " a\n"]) == [1.0, 0.0, 1.0]
    assert signs.twins_within(["a", "b"]) == [0.0, 0.0]


def test_twins_across_prompts_with_other_golds():
    texts, prompts = ["A", "A", "A", "B", "B"], ["p", "q", "r", "p", "p"]
    assert signs.twins_across(texts, prompts, ["1", "1", "2", "1", "1"]) == [1, 1, 1, 0, 0]
    assert signs.twins_across(texts[:2], prompts[:2], ["1", "1"]) == [0, 0]  # one gold, one right text
    assert signs.twins_across(texts[:2], prompts[:2], [None, None]) == [1, 1]
    assert signs.twins_across(["A", "A"], ["p", "p"], [None, None]) == [0, 0]


@pytest.mark.parametrize(
    "text", ["", "\x00\ud800", "\\boxed{" * 3000, "<answer>" * 3000, "}" * 3000, "</think>"]
)
def test_no_text_raises(text):
    for sign in (signs.repetition, signs.several_answers, signs.bare, signs.mixed):
        assert sign(text) in (None, 0.0, 1.0) or 0 <= sign(text) <= 1
