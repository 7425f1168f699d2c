"""Several seeds of one recipe: which folders, what is told of them, what is run again."""

import io
import json

import pytest
from rich.console import Console

from grpo.errors import UserError
from grpo.protocols import Measured
from grpo.recipe_file import load_recipe
from grpo.stages import rl
from grpo.stages.seeds import parse_seeds, summarise, train_seeds


def summary(base: float, trained: float, greedy: float) -> dict:
    rows = [
        Measured(
            "raw, T=1",
            "accuracy",
            (base, base - 0.05, base + 0.05),
            (trained, trained - 0.05, trained + 0.05),
        ),
        Measured("raw, T=0", "accuracy", (greedy, greedy - 0.05, greedy + 0.05), (0.1, 0.05, 0.15)),
    ]
    return {"protocols": [row.to_json() for row in rows], "seconds": 60.0}


def test_the_gain_of_a_seed_is_over_the_base_at_its_best():
    told = summarise({3: summary(0.2, 0.6, 0.3), 4: summary(0.2, 0.35, 0.3)})
    first, second = told["seeds"]
    assert (first["seed"], first["base"]["protocol"], first["base"]["value"]) == (3, "raw, T=0", 0.3)
    assert first["trained"]["interval"] == [pytest.approx(0.55), pytest.approx(0.65)]
    assert (first["apart"], second["apart"]) == (True, False)
    assert told["mean_gain"] == pytest.approx((0.3 + 0.05) / 2)
    assert told["least_gain"] == pytest.approx(0.05)


def test_each_seed_has_its_folder_and_is_asked_to_go_on_there(tmp_path, monkeypatch):
    asked = []

    def train(recipe, *, resume, overwrite, console):
        asked.append((recipe.output.seed, recipe.output.folder, resume, overwrite))
        return summary(0.2, 0.6, 0.3)

    monkeypatch.setattr(rl, "train", train)
    recipe = load_recipe("demo", [f"output.folder={tmp_path}"])
    screen = Console(file=io.StringIO(), width=120)
    told = train_seeds(recipe, [5, 7], console=screen)
    assert asked == [(seed, f"{tmp_path}/seed-{seed}", True, False) for seed in (5, 7)]
    assert json.loads((tmp_path / "seeds.json").read_text()) == told
    assert "apart" in screen.file.getvalue()
    train_seeds(recipe, [5], overwrite=True, console=screen)
    assert asked[-1] == (5, f"{tmp_path}/seed-5", False, True)


def test_without_a_verdict_it_ends_with_the_first_seed(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(rl, "train", lambda recipe, **_: asked.append(recipe) or {"protocols": []})
    recipe = load_recipe("demo", [f"output.folder={tmp_path}"])
    with pytest.raises(UserError, match=r"rewards: no rule's score is a verdict.*accuracy, weight: 0"):
        train_seeds(recipe, [5, 7], console=Console(file=io.StringIO()))
    assert len(asked) == 1


@pytest.mark.parametrize("text", ["", "a", "1,1", "-1", "1;2", "0,4294967296"])
def test_what_is_no_list_of_seeds_is_refused(text):
    with pytest.raises(UserError, match=r"--seeds: .* is no list of different seeds. Write 0,1,2"):
        parse_seeds(text)
    assert parse_seeds("0,2") == [0, 2]
