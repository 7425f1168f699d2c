"""The forms that the tests of a row may have."""

from __future__ import annotations

import json

import numpy
import pytest

from rewards.code_cases import Assertions, Pairs, read_case

PAIRS = Pairs((("1\n2", "3"), ("4", "5")))
LIST = [{"input": "1\n2", "output": "3"}, {"input": "4", "output": "5"}]
COLUMNS = {"inputs": ["1\n2", "4"], "outputs": ["3", "5"]}
CHECK = "METADATA = {}\n\ndef check(candidate):\n    assert candidate(1) == 1\n"

READ = {
    "pairs": (LIST, PAIRS),
    "pairs as JSON": (json.dumps(LIST), PAIRS),
    "APPS": (COLUMNS, PAIRS),
    "APPS as JSON": (json.dumps(COLUMNS), PAIRS),
    "lines": ({"inputs": [["1", "2"], "4"], "outputs": [["3"], "5"]}, PAIRS),
    "an array": (numpy.array(["assert f(1)"], dtype=object), Assertions(("assert f(1)",), "", "")),
    "MBPP": (["assert f(1)", "assert f(2)"], Assertions(("assert f(1)", "assert f(2)"), "", "")),
    "code": ("assert f(1)", Assertions(("assert f(1)",), "", "")),
    "code that begins as JSON does": (
        "[a, b] = f(1), 2\nassert a == b",
        Assertions(("[a, b] = f(1), 2\nassert a == b",), "", ""),
    ),
    "a call": ("import unittest\ng(f)", Assertions(("import unittest\ng(f)",), "", "")),
    "none": (None, None),
    "no tests": ([], None),
    "blank": ("  ", None),
}


@pytest.mark.parametrize("name", READ)
def test_forms(name):
    tests, case = READ[name]
    assert read_case(tests) == case
    if case is not None:
        assert case.total == (2 if name in ("pairs", "MBPP", "lines") or "JSON" in name[-4:] else case.total)


def test_check_is_called_with_the_entry_point():
    case = read_case(CHECK, setup=["import math", "x = 1"], entry_point="f")
    assert case == Assertions((CHECK.strip() + "\n\ncheck(f)",), "import math\nx = 1", "f")
    for name in (None, "", "f()", "f; x"):
        with pytest.raises(ValueError, match="entry_point"):
            read_case(CHECK, entry_point=name)


REFUSED = {
    "a number": (3, "is int"),
    "numbers": ([1, 2], "holds int"),
    "a broken assertion": (["assert f(1) =="], "does not compile"),
    "broken code": ("def check(:", "does not compile"),
    "a pair without output": ([{"input": "1"}], "output of a test is NoneType"),
    "other keys": ({"a": 1}, "holds a"),
    "uneven columns": ({"inputs": ["1"], "outputs": []}, "holds inputs, outputs"),
    "calls as in APPS": ({"fn_name": "f", "inputs": [["1"]], "outputs": [["2"]]}, "calls of 'f'"),
    "calls as in LiveCodeBench": (
        [{"input": "1", "output": "2", "testtype": "functional"}],
        "calls with their results",
    ),
    "a test that is never called": (["def test_f():\n    assert f(1)"], "asserts nothing and calls nothing"),
    "a test behind a name": (
        "def test():\n    assert f(1)\nif __name__ == '__main__':\n    test()",
        "asserts nothing and calls nothing",
    ),
    "a comment": (["# assert f(1)"], "asserts nothing"),
    "another library": (["import numpy.linalg\nassert f(1)"], "imports 'numpy'"),
    "the program as a module": (["from solution import f\nassert f(1)"], "imports 'solution'"),
    "mixed": ([LIST[0], "assert f(1)"], "holds dict"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    tests, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        read_case(tests)


def test_a_setup_that_does_not_compile():
    with pytest.raises(ValueError, match="does not compile"):
        read_case(["assert f(1)"], setup="import")
