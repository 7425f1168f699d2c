"""Rules from names and files, and one clear line for each way a user can get them wrong."""

from __future__ import annotations

import pytest

from rewards import registry
from rewards.errors import RuleError
from rewards.load import load

RULES = """
    def brevity(prompts, completions, *, target=200, **columns):
        return [float(len(c) < target) for c in completions]

    def few(completions, answer):
        return [1.0] * len(completions)

    def loose(completions, target=200):
        return [1.0] * len(completions)

    def no_completions(texts):
        return []

    def positional(completions, /):
        return []

    def whole(completions, **columns):
        return []
    whole.whole_group = True

    number = 3
"""


@pytest.fixture
def rules(rule_file):
    return rule_file(RULES)


def test_a_registered_rule():
    loaded = load("format", {"prefilled": True})
    assert loaded.info.name == "format"
    assert loaded.options == {"prefilled": True}
    assert loaded.takes_all


def test_a_function_of_a_file(rules):
    loaded = load(f"{rules}:brevity", {"target": 5})
    assert loaded.info.name == "brevity"
    assert loaded.function(prompts=[""], completions=["abc"], **loaded.options) == [1.0]
    assert load(f"{rules}:few", {}).required == {"completions", "answer"}
    assert load(f"{rules}:whole", {}).info.whole_group


def test_a_file_is_found_beside_the_recipe_and_imports_its_neighbours(rule_file, tmp_path, monkeypatch):
    rule_file("LIMIT = 7", "helper_of_rules.py")
    rule_file("from helper_of_rules import LIMIT\ndef f(completions): return [LIMIT]", "r.py")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load("r.py:f", {}, folder=tmp_path).function([]) == [7]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("brevty", {}, "has no function 'brevty'. Did you mean 'brevity'?"),
        ("number", {}, "is not a function"),
        ("no_completions", {}, r"takes \(texts\), no `completions`"),
        ("positional", {}, "parameter 'completions' is positional only"),
        ("brevity", {"targt": 5}, "no option 'targt'. Did you mean 'target'?"),
        ("few", {"target": 5}, "no option 'target'. It has none"),
        ("loose", {"target": 5}, r"no option 'target'. .*: write `\*, target=…`"),
        ("brevity", {"completions": 5}, "no option 'completions'"),
    ],
)
def test_a_wrong_function_or_option(rules, name, options, message):
    with pytest.raises(RuleError, match=message) as error:
        load(f"{rules}:{name}", options)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nothing_of_this_name",
            "does not import: ModuleNotFoundError: No module named.*my_rules.py line 1",
        ),
        ("x = 1\ny = x / 0", "does not import: ZeroDivisionError: division by zero, my_rules.py line 2"),
        ("def f(:", "does not import: SyntaxError: .*line 1"),
        ("raise SystemExit(3)", "does not import: SystemExit"),
    ],
)
def test_a_file_that_does_not_import(rule_file, source, message):
    with pytest.raises(RuleError, match=message) as error:
        load(f"{rule_file(source)}:f", {})
    assert "\n" not in str(error.value)


def test_a_missing_file_and_one_that_is_no_python(rule_file, tmp_path):
    with pytest.raises(RuleError, match=r"no file 'nowhere\.py'"):
        load("nowhere.py:f", {})
    with pytest.raises(RuleError, match="is no Python file"):
        load(f"{rule_file('', 'rules.txt')}:f", {})


def test_an_edited_file_is_read_anew(rule_file):
    assert load(f"{rule_file('def f(completions): return [1]')}:f", {}).function([]) == [1]
    assert load(f"{rule_file('def f(completions): return [22]')}:f", {}).function([]) == [22]


def test_a_decorated_rule_of_a_file_keeps_its_marks(rule_file, monkeypatch):
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    source = """
        from rewards import rule
        @rule("test_load_mine", grades_answer=True)
        def f(completions): return []
    """
    for _ in range(2):  # loading it again is no clash of names
        assert load(f"{rule_file(source)}:f", {}).info.grades_answer
