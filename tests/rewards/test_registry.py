"""Names of rules."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rewards
from rewards import registry
from rewards.errors import RuleError, nearest


def test_rules_are_found_without_being_listed():
    assert {"accuracy", "format"} <= set(rewards.names())
    assert rewards.get("accuracy").grades_answer
    assert not rewards.get("format").grades_answer


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(RuleError, match=r"no rule is named 'acuracy'.*Did you mean 'accuracy'"):
        rewards.get("acuracy")
    with pytest.raises(RuleError, match=r"Known: accuracy, .*path/to/file.py:function"):
        rewards.get("qqqq")


def test_marks_become_attributes(monkeypatch):
    monkeypatch.setattr(registry, "_RULES", {})

    @rewards.rule("mine", grades_answer=True, whole_group=True)
    def mine(completions):
        return []

    assert registry._RULES["mine"] is mine
    assert (mine.grades_answer, mine.whole_group, mine.warm) == (True, True, None)


def test_two_rules_cannot_share_a_name(monkeypatch):
    monkeypatch.setattr(registry, "_RULES", {"mine": rewards.get("format")})
    with pytest.raises(RuleError, match="two rules are named 'mine'"):
        rewards.rule("mine")(lambda completions: [])


def test_importing_the_package_loads_nothing_heavy():
    script = (
        "import sys, rewards; rewards.names(); "
        "heavy = ('sympy', 'math_verify', 'torch', 'transformers', 'numpy', 'grpo', 'eval'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nearest():
    assert nearest("targt", ["target", "scale"]) == "Did you mean 'target'?"
    assert nearest("zzz", ["b", "a"]) == "Known: a, b"
    assert nearest("zzz", []) == ""
