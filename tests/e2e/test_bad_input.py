"""Input that is wrong: one line, exit code 2, nothing lost."""

import json
import shutil
from pathlib import Path

import pytest

from grpo.recipe_file import load_recipe
from grpo.stages.pretrain import pretrain
from grpo.view import PlainView


@pytest.fixture(scope="module")
def model(workplace, cache) -> Path:
    """The recipe's base, made in this process."""
    from rich.console import Console

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPO_CACHE", str(cache))
        return pretrain(load_recipe(workplace / "tiny.yaml"), PlainView(Console(quiet=True)))


@pytest.fixture
def refused(start, workplace, model):
    """refused(*arguments): the one line that `grpo train` answers with."""

    def run(*arguments: str, recipe: str = "tiny.yaml") -> str:
        started = start("train", recipe, *arguments)
        code, out, err = started.end()
        assert code == 2, (out, err)
        assert "Traceback" not in out + err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert started.wait_until_gone() == {}
        return err

    return run


@pytest.fixture
def rows(workplace, model):
    """rows([{…}]): overrides that train the base on a file of these rows."""

    def write(rows) -> list[str]:
        path = workplace / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ["data.train=rows.jsonl", "data.options={}", "pretrain=null", f"model.path={model}"]

    return write


GOOD = [{"prompt": f"{x}+1=", "answer": str(x + 1)} for x in range(60)]


def test_a_malformed_recipe(refused, workplace):
    (workplace / "bad.yaml").write_text("model: {dtype: float32\ndata:\n  - [")
    assert "bad.yaml:" in refused(recipe="bad.yaml")
    assert "no such recipe file" in refused(recipe="nowhere.yaml")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("./nowhere", "model.path: ./nowhere is no folder"),
        ("org/nowhere", "model.path: no checkpoint with a tokenizer is at org/nowhere"),
        ("./copy", "model.path: no checkpoint could be loaded from ./copy"),
    ],
)
def test_a_missing_model(refused, workplace, model, path, said):
    if path == "./copy":  # everything but the weights
        shutil.copytree(model, workplace / "copy", ignore=shutil.ignore_patterns("*.safetensors"))
    assert said in refused("pretrain=null", f"model.path={path}", "output.folder=missing")


def test_data_without_an_answer_column(refused, rows, workplace):
    line = refused(*rows([{"prompt": "1+1=", "solution": "2", "level": 3}]))
    assert "row 1 has no column 'answer'; it has level, prompt, solution" in line
    assert "data.columns" in line
    assert not (workplace / "run").exists()


def test_empty_data(refused, rows):
    assert "rows.jsonl: holds no rows" in refused(*rows([]))


def test_golds_that_their_rule_rejects(refused, rows):
    line = refused(*rows([*GOOD, {"prompt": "2+2=", "answer": "</answer>"}]))
    assert "golds are not right by accuracy" in line
    assert "data.bad_gold: drop" in line


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("broken.py:rule", "broken.py"),
        ("rules.py:no_completions", "completions"),
        ("rules.py:two", "returned 2 scores for"),
    ],
)
def test_reward_functions_that_cannot_be_used(refused, workplace, function, said):
    (workplace / "broken.py").write_text("import nowhere_to_be_found\n\ndef rule(completions): return []\n")
    assert said in refused(f"rewards=[{{rule: {function}}}]")
    assert not (workplace / "run").exists()


@pytest.mark.engine
def test_no_room_for_the_cache_and_a_folder_in_use(refused, workplace):
    line = refused("rollout.engine_args.kv_cache_memory_bytes=1000")
    assert "kv_cache_memory_bytes" in line
    # what it left holds nothing; once a step is in it, another run does not write over it
    (workplace / "run" / "metrics.jsonl").write_text('{"step": 0}\n')
    before = {path: path.stat().st_mtime_ns for path in (workplace / "run").rglob("*")}
    line = refused()
    assert "run already holds a run. Add --resume to go on with it, or --overwrite to move it aside." in line
    assert "other values of train.lr (0.001, now 0.5)" in refused("--resume", "train.lr=0.5")
    assert {path: path.stat().st_mtime_ns for path in (workplace / "run").rglob("*")} == before
