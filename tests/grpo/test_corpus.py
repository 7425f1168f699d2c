"""What the base is shown: right working, planted mistakes in the shares asked for, nothing held out."""

import itertools
import random
import re

import pytest

from grpo.corpus import CORPORA, TAGS, worked_sum
from grpo.hashing import in_holdout
from grpo.recipe import Pretrain

OPTIONS = {"digits": 3}
WHOLE = re.compile(r"<think>([\d+=,;]*)</think><answer>(\d+)</answer>")


def examples(count, excluded=lambda key: False, options=OPTIONS, **spec):
    stream = CORPORA["addition"].examples(Pretrain(**spec), options, excluded)
    return list(itertools.islice(stream, count))


def operands(example):
    a, b = example.prompt.removesuffix("=").split("+")
    return int(a), int(b)


def key_of(example):
    return "+".join(map(str, sorted(operands(example))))


def test_working_without_slips_is_right():
    assert worked_sum(347, 285, 0.0, random.Random(0)) == ("7+5+0=12,2;4+8+1=13,32;3+2+1=06,0632", 632)
    assert worked_sum(9, 9, 0.0, random.Random(0)) == ("9+9+0=18,18", 18)
    assert worked_sum(95, 5, 0.0, random.Random(0)) == ("5+5+0=10,0;9+0+1=10,100", 100)
    for a, b in [(random.Random(i).randrange(10000), random.Random(-i).randrange(10000)) for i in range(500)]:
        assert worked_sum(a, b, 0.0, random.Random(0))[1] == a + b


def test_a_slip_is_carried_on():
    seen = set()
    for seed in range(300):
        working, total = worked_sum(555, 444, 0.3, random.Random(seed))
        carry, result = 0, ""
        for place, part in enumerate(working.split(";")):
            left, right = part.split("=")
            wrote, so_far = right.split(",")
            assert left == f"5+4+{carry}"  # goes on from what it wrote, not from what is right
            seen.add(int(wrote) - 9 - carry)
            result = (wrote if place == 2 else wrote[-1]) + result
            assert so_far == result
            carry = int(wrote) // 10
        assert total == int(result)
    assert seen == {-1, 0, 1}
    assert worked_sum(0, 0, 1.0, random.Random(1))[1] >= 0


def test_slips_come_in_the_share_asked_for():
    sums = [worked_sum(2222, 3333, 0.1, random.Random(seed))[0].split(";") for seed in range(2000)]
    wrong = [
        sum(map(int, part.split("=")[0].split("+"))) != int(part.split("=")[1].split(",")[0])
        for row in sums
        for part in row
    ]
    assert abs(sum(wrong) / len(wrong) - 0.1) < 0.01


def test_both_styles_in_the_shares_asked_for():
    made = examples(4000, worked=0.3, slips=0.0, guesses=0.0, untagged=0.0)
    worked = 0
    for example in made:
        a, b = operands(example)
        assert 100 <= min(a, b) <= max(a, b) <= 999
        thought, answer = WHOLE.fullmatch(example.completion).groups()
        assert int(answer) == a + b
        assert thought in ("", worked_sum(a, b, 0.0, random.Random(0))[0])
        worked += bool(thought)
    assert abs(worked / 4000 - 0.3) < 0.03


def test_guesses_are_wrong_by_one_in_one_place_in_the_share_asked_for():
    made = examples(4000, worked=0.5, slips=0.0, guesses=0.4, untagged=0.0)
    off = []
    for example in made:
        thought, answer = WHOLE.fullmatch(example.completion).groups()
        wrong = int(answer) - sum(operands(example))
        if thought:
            assert wrong == 0
        else:
            off.append(wrong)
    assert abs(sum(map(bool, off)) / len(off) - 0.4) < 0.04
    assert set(off) == {0, 1, -1, 10, -10, 100, -100}


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_malformed_examples_in_the_share_asked_for(share):
    made = examples(2000, untagged=share, worked=0.5)
    broken = [e.completion for e in made if not WHOLE.fullmatch(e.completion)]
    assert abs(len(broken) / 2000 - share) < 0.03
    missing = [[tag for tag in TAGS if tag not in text] for text in broken]
    assert all(len(tags) == 1 for tags in missing)
    if share:
        assert {tags[0] for tags in missing} == set(TAGS)


def test_nothing_held_out_is_ever_shown():
    def held(key):
        return in_holdout(key, 0.3)

    keys = {key_of(example) for example in examples(10_000, held)}
    assert not any(map(held, keys))
    assert len(keys) > 9000
    assert any(map(held, map(key_of, examples(1000))))  # without the exclusion it would be


def test_keys_and_problems_are_those_of_the_data_set():
    from eval.sets import addition

    rows = list(addition.rows("train", digits=2, count=4095))  # all there are
    by_prompt = {row["prompt"]: row["pair"] for row in rows}
    asked = []
    made = examples(4000, lambda key: bool(asked.append(key)), {"digits": 2})
    keys = dict(zip((example.prompt for example in made), asked, strict=True))
    common = by_prompt.keys() & keys.keys()
    assert len(common) > 1000
    assert all(by_prompt[prompt] == keys[prompt] for prompt in common)
    assert set(asked) <= {row["pair"] for row in rows}


def test_the_seed_decides_the_corpus():
    assert examples(50, seed=1) == examples(50, seed=1)
    assert examples(50, seed=1) != examples(50, seed=2)
