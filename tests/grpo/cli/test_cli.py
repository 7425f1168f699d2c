"""The frame of the command line: exit codes, one-line errors, what loads, what shadows."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import grpo
from grpo import cli
from grpo.errors import RunError, UserError
from grpo.memory import heap
from grpo.recipe_file import shipped_recipes

ROOT = Path(grpo.__file__).resolve().parent.parent
HEAVY = "{'torch', 'transformers', 'vllm', 'sympy', 'datasets', 'numpy'}"


@pytest.fixture
def run(capsys):
    """Runs a command in this process and gives exit code, stdout and stderr."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run_command


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["pretrain"],
        ["recipe"],
        ["recipe", "list"],
        ["recipe", "explain"],
        ["reward"],
        ["hacking"],
        ["report"],
        ["watch"],
        ["doctor"],
    ],
)
def test_every_help_has_an_example(run, arguments):
    code, out, _ = run(*arguments, "--help")
    assert code == 0
    assert "Example" in out
    assert " ".join(["grpo", *arguments]) in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "again"),
    [(["train", "nowhere.yaml"], True), (["pretrain", "nowhere.yaml"], True), (["report", "nowhere"], False)],
)
def test_a_program_that_trains_starts_again_for_its_heap(monkeypatch, tmp_path, arguments, again):
    started = []
    monkeypatch.setattr(heap, "NVIDIA", tmp_path / "no-driver")
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))  # from which none returns
    monkeypatch.setattr(sys, "argv", ["grpo", *arguments])
    monkeypatch.setenv(heap.VARIABLE, "")
    monkeypatch.delenv(heap.VARIABLE)
    with pytest.raises(SystemExit):
        cli.main()
    assert started == [(sys.executable, sys.orig_argv)] * again
    assert (heap.VARIABLE in os.environ) == again


def test_help_lists_every_command(run):
    _, out, _ = run("--help")
    for name in cli.COMMANDS:
        assert f" {name} " in out


def test_a_mistyped_command_gives_the_nearest(run):
    code, _, err = run("trian")
    assert code == 2
    assert "'train'" in err


def test_a_wrong_recipe_is_one_line_each_and_code_2(run, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: {path: org/base}\ndata: {tran: addition}\nrewards: [{rule: accuracy}]\n")
    code, out, err = run("train", str(recipe), "train.lr=much")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"error: {recipe}:2 data.train: missing",
        f"error: {recipe}:2 data.tran: unknown key. Did you mean train?",
        "error: command line: train.lr: should be a number, is 'much'",
        f"error: {recipe} output: missing. Give at least folder",
    ]


def test_markup_in_an_error_is_printed_as_it_is(run):
    code, _, err = run("train", "[bold]no[/bold]")
    assert code == 2
    assert err.startswith("error: [bold]no[/bold]: ")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UserError("bad", "here", "Do this"), 2, "error: here: bad. Do this\n"),
        (RunError("failed"), 1, "error: failed\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exit_codes(run, monkeypatch, raised, code, said):
    def plan(recipe, gpu_gib):
        raise raised

    monkeypatch.setattr("grpo.dry_run.plan", plan)
    assert run("train", "demo", "--dry-run") == (code, "", said)


def test_colons_in_an_error_are_no_emoji(run):
    code, _, err = run("train", "here:train:ok")
    assert code == 2
    assert err.startswith("error: here:train:ok: ")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def plan(recipe, gpu_gib):
        raise ZeroDivisionError

    monkeypatch.setattr("grpo.dry_run.plan", plan)
    with pytest.raises(ZeroDivisionError):
        cli.main(["train", "demo", "--dry-run"])


def test_resume_and_overwrite_exclude_each_other(run):
    code, _, err = run("train", "demo", "--resume", "--overwrite")
    assert code == 2
    assert "exclude each other" in err


def test_dry_run_shows_recipe_prompt_and_work(run):
    code, out, _ = run("train", "demo", "train.steps=2", "--dry-run")
    assert code == 0
    assert "  steps: 2\n" in out
    assert "2 steps × 32 prompts × 8 = 512" in out
    code, out, _ = run("train", "demo", "train.steps=2", "--dry-run", "--json")
    answer = json.loads(out)
    assert answer["completions"] == 512
    assert answer["recipe"]["train"]["steps"] == 2


def test_the_version(run):
    code, out, _ = run("--version")
    assert (code, out) == (0, importlib.metadata.version("grpo-toolkit") + "\n")


def test_recipe_list_and_explain(run):
    code, out, _ = run("recipe", "list")
    assert code == 0
    assert all(name in out for name in shipped_recipes())
    code, out, _ = run("recipe", "explain", "algorithm.kl")
    assert code == 0
    assert "algorithm.kl.k3" in out
    long = next(
        line for line in run("recipe", "explain", "data.train")[1].splitlines() if "data.train" in line
    )
    assert long.rstrip().endswith("reasoning_gym:task")  # one line an entry, for grep
    code, _, err = run("recipe", "explain", "rollout.group_sise")
    assert code == 2
    assert err == "error: no key 'rollout.group_sise'. Did you mean rollout.group_size?\n"


@pytest.mark.parametrize(
    ("arguments", "others"),
    [
        (["--help"], set()),
        (["train", "demo", "train.lr=x"], {"grpo.cli.recipe", "grpo.cli.reward", "grpo.cli.doctor"}),
        (["recipe", "list"], {"grpo.cli.train", "grpo.cli.reward", "grpo.cli.doctor"}),
    ],
)
def test_nothing_heavy_and_no_other_command_loads(arguments, others, tmp_path):
    code = (
        f"import sys\nfrom grpo.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass\n"
        f"loaded = ({HEAVY} | {others or 'set()'}) & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def shadows(folder: Path) -> None:
    for name in ("rewards", "eval", "recipes"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('shadowed')")


def module_run(folder: Path, code: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, *code], capture_output=True, text=True, cwd=folder, env=environment
    )


def test_folders_of_the_user_do_not_shadow_ours(tmp_path):
    shadows(tmp_path)
    done = module_run(tmp_path, ["-m", "grpo", "recipe", "explain", "rewards"])
    assert done.returncode == 0, done.stderr
    assert "rewards.rule.accuracy" in done.stdout
    # the folders do shadow where the working directory stays on the path
    unsafe = module_run(tmp_path, ["-c", "from grpo.cli import main; main(['recipe', 'explain', 'rewards'])"])
    assert "shadowed" in unsafe.stderr


def test_module_run_works_where_the_package_lives():
    done = module_run(ROOT, ["-m", "grpo", "recipe", "list"])
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_public_names_are_there_and_load_lazily():
    code = (
        "import sys, grpo\n"
        "assert not {'grpo.recipe', 'pydantic', 'torch'} & set(sys.modules)\n"
        "assert grpo.load_recipe('demo').train.steps\n"
        "assert grpo.losses.term('kl', 'k3') and grpo.advantages.group_norm\n"
        "assert set(grpo.__all__) == set(dir(grpo))\n"
        "assert issubclass(grpo.UserError, grpo.GrpoError)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = grpo.trian
