"""Run folders in every state, read as they are."""

import pytest

from grpo.errors import UserError
from grpo.report.read import read_run


def test_a_finished_run(run):
    found = read_run(run)
    assert (found.name, found.done, found.steps, found.ended) == ("run", 4, 4, True)
    assert (found.tokens, found.seconds) == (400, 4 * 2.0 + 3 * 1.0)
    assert found.environment["seed"] == 7
    assert found.summary["trained"]["pass@1"] == 0.9


def test_a_run_that_goes_on(make_run):
    folder = make_run(2, ended=False)
    found = read_run(folder)
    assert (found.done, found.ended, found.summary) == (2, False, None)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "rewa')  # a line that is being written
    assert read_run(folder).done == 2


def test_a_run_resumed_with_more_steps_has_not_ended(run, add_step):
    (run / "recipe.yaml").write_text("train: {steps: 6}\n")
    assert not read_run(run).ended  # its old summary is still there
    add_step(run, 5)
    assert not read_run(run).ended
    (run / "recipe.yaml").write_text("train: {steps: 4}\n")
    assert not read_run(run).ended


def test_a_run_before_its_first_step(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    found = read_run(tmp_path)
    assert (found.rows, found.done, found.steps, found.recipe, found.environment) == ([], 0, None, {}, {})


@pytest.mark.parametrize("text", ["- [", "a list", "train: 3", "train: {steps: many}"])
def test_a_recipe_that_says_nothing_of_steps(run, text):
    (run / "recipe.yaml").write_text(text)
    found = read_run(run)
    assert (found.recipe_text, found.steps) == (text, None)


def test_what_is_no_run_is_told(tmp_path):
    (tmp_path / "file").touch()
    cases = {"nowhere": "no such folder", "file": "is a file", ".": "has no metrics.jsonl"}
    for name, said in cases.items():
        with pytest.raises(UserError, match=said):
            read_run(tmp_path / name)
