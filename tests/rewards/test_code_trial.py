"""Programs tried against tests: verdicts, and what a program does to get one that it has not earned."""

from __future__ import annotations

import pytest

from rewards.code_cases import read_case
from rewards.code_trial import Outcome, lines, try_program
from rewards.sandbox import Limits

pytestmark = pytest.mark.usefixtures("sandbox_here")
LIMITS = Limits(10.0, 512)


def tried(program, tests, every=True, limits=LIMITS, **columns):
    return try_program(program, read_case(tests, **columns), limits, every=every)


PASSES = {
    "a print": ("print(int(input()) + 1)", [{"input": "4", "output": "5\n"}]),
    "white space at ends": ("print(' a  \\n\\nb \\n\\n')", [{"input": "", "output": " a\n\nb"}]),
    "exit with 0": ("print(1)\nexit()", [{"input": "", "output": "1"}]),
    "an answer before os._exit": (
        "import os\nprint(1, flush=True)\nos._exit(0)",
        [{"input": "", "output": "1"}],
    ),
    "main": (
        "def main():\n    print(1)\nif __name__ == '__main__':\n    main()",
        [{"input": "", "output": "1"}],
    ),
    "binary input": (
        "import sys\nprint(sys.stdin.buffer.read().decode())",
        [{"input": "é\n", "output": "é"}],
    ),
    "a thread": (
        "import threading\nt = threading.Thread(target=print, args=(1,))\nt.start()\nt.join()",
        [{"input": "", "output": "1"}],
    ),
    "its own folder": (
        "open('a', 'w').write('1')\nprint(open('/box/a').read())",
        [{"input": "", "output": "1"}],
    ),
    "plain data": (
        "def f(x): return x",
        [
            f"assert f({value}) == {value}"
            for value in (
                "None",
                "True",
                "2**70",
                "-1.5",
                "1j",
                "'é\\ud800'",
                "b'a'",
                "[1, (2, {3}), frozenset('a')]",
                "{(1, 2): {'a': [None]}}",
                "10**5000",
            )
        ]
        + ["assert type(f((1,))) is tuple", "assert f(x=1) == 1", "assert str(f(float('nan'))) == 'nan'"],
    ),
    "subclasses of plain types": (
        "import collections\ndef f(x): return collections.Counter(x)",
        ["assert f('aab') == {'a': 2, 'b': 1}"],
    ),
    "objects": (
        "class Stack:\n    def __init__(self, n): self.items = [n]\n"
        "    def pop(self): return self.items.pop()\n"
        "    def __len__(self): return len(self.items)\n    def __getitem__(self, i): return self.items[i]\n"
        "def top(stack): return stack.items[-1]",
        [
            "s = Stack(4)\nassert s[0] == 4 and len(s) == 1 and top(s) == 4 and s.items == [4]",
            "assert s.pop() == 4 and not s",
        ],
    ),
    "iterators": ("def f(n): return map(str, range(n))", ["assert list(f(2)) == ['0', '1']"]),
    "expected exceptions": (
        "def f(x): raise ValueError(f'bad {x}')",
        [
            "try:\n    f(1)\nexcept ValueError as error:\n    assert str(error) == 'bad 1'\n"
            "else:\n    assert False"
        ],
    ),
    "a module that tests use": ("def f(x): return x", ["assert math.isclose(f(0.5), 0.5)"]),
    "a constant": ("LIMIT = 3", ["assert LIMIT == 3"]),
    "not run as main": (
        "def f(): return 1\nif __name__ == '__main__': raise SystemExit",
        ["assert f() == 1"],
    ),
}


@pytest.mark.parametrize("case", PASSES)
def test_right_programs_pass(case):
    program, tests = PASSES[case]
    assert tried(program, tests) == Outcome(len(tests), len(tests), None)


FAILS = {
    "wrong output": ("print(4)", [{"input": "", "output": "5"}], "printed '4', wanted '5'"),
    "more output": ("print(5, 5)", [{"input": "", "output": "5"}], "printed '5 5'"),
    "right output, then a crash": ("print(5)\n1 / 0", [{"input": "", "output": "5"}], "ZeroDivisionError"),
    "right output, wrong exit": ("print(5)\nexit(3)", [{"input": "", "output": "5"}], "exit code 3"),
    "a signal": (
        "import os\nprint(5, flush=True)\nos.kill(os.getpid(), 11)",
        [{"input": "", "output": "5"}],
        "SIGSEGV",
    ),
    "a name of our own": ("print(sys)", [{"input": "", "output": ""}], "NameError"),
    "no such function": ("x = 1", ["assert f(1) == 1"], "NameError: name 'f' is not defined"),
    "it raises": ("def f(x): return 1 / x", ["assert f(0) == 0"], "ZeroDivisionError"),
    "it raises its own": (
        "class E(Exception): pass\ndef f(x): raise E(x)",
        ["assert f(0) == 0"],
        "test 1: E: 0",
    ),
    "it raises what wants more than a text": (
        "def f(x): return b'\\xff'.decode()",
        ["assert f(0) == 0"],
        "UnicodeDecodeError",
    ),
    "it does not load": ("def f(x): return x\n1 / 0", ["assert f(0) == 0"], "ZeroDivisionError"),
    "data that loops": (
        "def f(x):\n    a = []\n    a.append(a)\n    return a",
        ["assert f(0) == 0"],
        "RecursionError",
    ),
    "a test's own objects": (
        "def f(x): return x",
        ["class A: pass\nassert f(A())"],
        "plain data to the program, not",
    ),
}


@pytest.mark.parametrize("case", FAILS)
def test_wrong_programs_fail_with_a_reason(case):
    program, tests, words = FAILS[case]
    outcome = tried(program, tests)
    assert (outcome.passed, outcome.total) == (0, 1)
    assert outcome.failure.startswith("test 1: ")
    assert words in outcome.failure


FORGERIES = {
    "ends well when loaded": "import os\nos._exit(0)",
    "ends well by exception": "raise SystemExit(0)",
    "ends well at exit": "import atexit, os\natexit.register(os._exit, 0)",
    "ends well when called": "import os\ndef add(a, b): os._exit(0)",
    "leaves when called": "import sys\ndef add(a, b): sys.exit(0)",
    "equals everything": (
        "class Yes:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __sub__(self, other): return 0\n    def __abs__(self): return 0\n"
        "def add(a, b): return Yes()"
    ),
    "an int that equals everything": (
        "class Yes(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def add(a, b): return Yes(0)"
    ),
    "no assertion fails": (
        "import builtins\nclass Quiet(Exception): pass\nbuiltins.AssertionError = Quiet\n"
        "import math, unittest\nmath.isclose = lambda *a, **k: True\n"
        "unittest.TestCase.assertEqual = lambda *a, **k: None\ndef add(a, b): return 0"
    ),
    "hooks": "import sys\nsys.excepthook = sys.unraisablehook = lambda *a: None\ndef add(a, b): return 0",
    "prints the verdict everywhere": (
        "import os\ndef add(a, b):\n    for file in range(64):\n        try: os.write(file, b'null\\n' * 9)\n"
        "        except OSError: pass\n"
        "    return 0"
    ),
    "answers for the judge": (
        "import os, struct\nbody = b'null\\n'\ndef add(a, b):\n    for file in range(3, 64):\n"
        "        try: os.write(file, struct.pack('!Q', len(body)) + body)\n        except OSError: pass\n"
        "    return 0"
    ),
    "a message without end": (
        "import os, struct\ndef add(a, b):\n    for file in range(3, 64):\n"
        "        try: os.write(file, struct.pack('!Q', 1 << 60))\n        except OSError: pass\n"
        "    return 0"
    ),
    "speaks for the channel": (
        "import sys\nplain = sys.modules['rewards.inside.plain']\n"
        "plain.encode = lambda value, number: {'object': 0}\ndef add(a, b): return 0"
    ),
    "tests of its own": (
        "def check(f): pass\nclass TestCase: pass\ncandidate = None\ndef add(a, b): return 0"
    ),
    "looks for the question": (  # once, or it finds what it looked for before
        "import functools, gc, sys\ndef add(a, b): return a + b if seen() else 0\n"
        "@functools.cache\ndef seen():\n    frame = sys._getframe()\n"
        "    texts = [str(each) for each in gc.get_objects() if type(each) in (list, tuple, dict)]\n"
        "    while frame:\n        texts.append(str(frame.f_locals))\n        frame = frame.f_back\n"
        "    text = ' '.join(texts)\n"
        "    needles = [''.join(['asse', 'rt ', name, '(12000']) for name in ('add', 'candidate')]\n"
        "    return any(needle in text for needle in needles)"
    ),
}
TESTS = [
    "assert add(12000, 345) == 12345",
    "assert abs(add(12000, 345) - 12345) < 1e-9",
    "assert math.isclose(add(12000, 345), 12345)",
    "import unittest\nunittest.TestCase().assertEqual(add(12000, 345), 12345)",
]
CHECK = "def check(candidate):\n    assert candidate(12000, 345) == 12345\n"


@pytest.mark.parametrize("attack", FORGERIES)
def test_no_verdict_can_be_forged(attack):
    program = FORGERIES[attack]
    assert tried(program, TESTS).passed == 0
    assert tried(program, CHECK, entry_point="add").passed == 0
    assert tried(program, [{"input": "12000 345", "output": "12345"}]).passed == 0


def test_the_tests_pass_an_honest_program():
    honest = "def add(a, b): return a + b\nif __name__ == '__main__': print(add(*map(int, input().split())))"
    assert tried(honest, TESTS).passed == len(TESTS)
    assert tried(honest, CHECK, entry_point="add").passed == 1
    assert tried(honest, [{"input": "12000 345", "output": "12345"}]).passed == 1


def test_a_setup_names_helpers_that_the_program_cannot_replace():
    """HumanEval/32: the test calls `poly`, which the prompt defines and a program may define anew."""
    forged = "def poly(xs, x): return 0\ndef find_zero(xs): return 7"
    check = "def check(candidate):\n    assert abs(poly([2, 1], candidate([2, 1]))) < 1e-4\n"
    head = "def poly(xs, x): return sum(c * x**i for i, c in enumerate(xs))\ndef find_zero(xs): 'Finds it.'"
    assert tried(forged, check, entry_point="find_zero").passed == 1  # without it, its own word is taken
    assert tried(forged, check, entry_point="find_zero", setup=head).passed == 0
    assert tried("def find_zero(xs): return -2", check, entry_point="find_zero", setup=head).passed == 1


def test_tests_passed_before_the_end_of_time_count():
    program = "import time\ndef f(x):\n    if x == 3: time.sleep(4321)\n    return x"
    tests = [f"assert f({x}) == {x}" for x in (1, 2, 3, 4)]
    assert tried(program, tests, limits=Limits(2.0, 512)) == Outcome(2, 4, "test 3: out of time")


def test_a_fault_of_ours_is_not_the_programs(monkeypatch):
    """A sandbox that does not come up, here for want of its module, raises."""
    monkeypatch.setattr("rewards.sandbox.LIBRARIES", ())
    with pytest.raises(OSError, match="bubblewrap failed"):
        tried("print(1)", [{"input": "", "output": "1"}])


def test_a_set_prints_alike_each_time():
    """With a random hash seed the chance of equal orders is one in 26 factorial."""
    order = tried("print(set(map(chr, range(97, 123))))", [{"input": "", "output": ""}]).failure
    again = tried("print(set(map(chr, range(97, 123))))", [{"input": "", "output": ""}]).failure
    assert order == again


def test_lines():
    assert lines("a \nb\n\n") == ["a", "b"]
    assert lines(" a\r\nb") == [" a", "b"]
    assert lines("a\n\nb") != lines("a\nb")
