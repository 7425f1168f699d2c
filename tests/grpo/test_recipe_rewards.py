"""Options of rules in a recipe, and rules within a rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo.recipe_file import RecipeError, dump_recipe, load_recipe

GOOD = """\
model: {path: org/base}
data: {train: gsm8k, template: r1_zero}
rewards:
  - {rule: accuracy}
output: {folder: runs/x}
"""
COMBINED = GOOD.replace(
    "  - {rule: accuracy}\n",
    """\
  - rule: combine
    low: -1
    rules:
      - {rule: accuracy, gate: format}
      - {rule: format, weight: 0.5}
""",
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_recipe(text: str) -> str:
        Path("r.yaml").write_text(text)
        return "r.yaml"

    return write_recipe


def problems(recipe: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    return str(caught.value).splitlines()


def test_a_combination_is_filled_in(write):
    recipe = load_recipe(write(COMBINED))
    accuracy, form = recipe.rewards[0].options["rules"]
    assert recipe.rewards[0].options["high"] is None
    assert accuracy["gate"] == "format"
    assert (form["weight"], form["strict"], form["prefilled"]) == (0.5, True, False)
    assert load_recipe(write(dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "rule: format,",
            "rule: fromat,",
            "r.yaml:8 rewards.0.rules.1.rule: no rule is named 'fromat'. Did you",
        ),
        (
            "weight: 0.5",
            "wieght: 1",
            "r.yaml:8 rewards.0.rules.1.wieght: unknown key or option. Did you mean weight",
        ),
        ("weight: 0.5", "timeout: 1", "r.yaml:8 rewards.0.rules.1.timeout: unknown key or option."),
        (
            "weight: 0.5",
            "strict: maybe",
            "r.yaml:8 rewards.0.rules.1: option 'strict' is 'maybe': input should",
        ),
        (
            "gate: format",
            "gate: form",
            "r.yaml:4 rewards.0: gate 'form' is no other rule here. Did you mean 'format'?",
        ),
        (
            "low: -1",
            "low: least",
            "r.yaml:4 rewards.0: option 'low' is 'least': input should be a valid number",
        ),
        ("low: -1", "lo: 1", "r.yaml:5 rewards.0.lo: unknown key or option. Did you mean low?"),
    ],
)
def test_what_is_wrong_in_a_combination_is_told_with_its_place(write, old, new, said):
    found = problems(write(COMBINED.replace(old, new)))
    assert any(line.startswith(said) for line in found)
    assert len(found) == 1 + ("fromat" in new)  # the gate has lost its rule, too


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "rule: overlong",
            "rewards.0: option 'max_tokens' is not set. Give it the value of rollout.max_tokens",
        ),
        ("rule: overlong, max_tokens: 64", None),
        ("rule: overlong, max_tokens: 64, cache: 65", "rewards.0: option 'cache' is 65."),
        ("rule: format, strict: 'no'", "rewards.0: option 'strict' is 'no': input should be a valid boolean"),
        (
            "rule: language, target: English",
            "rewards.0: option 'target' is 'English'. Give an ISO 639-1 code",
        ),
        ("rule: 'trl:think_format_reward'", None),
    ],
)
def test_options_of_a_rule_are_checked(write, rule, said):
    recipe = write(GOOD.replace("rule: accuracy", rule))
    if said is None:
        load_recipe(recipe)
    else:
        assert problems(recipe)[0].startswith(f"r.yaml:4 {said}")


def test_a_combination_finds_files_beside_the_recipe_and_does_not_run_them(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "my.py").write_text("def rule(completions, *, size=1): ...\nraise SystemExit")
    recipe = tmp_path / "r.yaml"
    rules = COMBINED.replace("{rule: format, weight: 0.5}", "{rule: 'my.py:rule', size: 2}")
    recipe.write_text(rules.replace("gate: format", "gate: rule"))
    monkeypatch.chdir(tmp_path / "here")
    (_, own) = load_recipe(recipe).rewards[0].options["rules"]
    assert own == {"rule": f"{tmp_path / 'my.py'}:rule", "size": 2}
    (tmp_path / "my.py").write_text("def rule(completions, *, length=1): ...")
    assert "rewards.0.rules.1.size: unknown key or option" in problems(recipe)[0]
