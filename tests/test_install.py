"""The wheel holds all that it needs and runs by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("grpo", "rewards", "eval", "recipes")


def run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The command's result, its output in the message of a failed test."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**clean, **env}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that no build folder is left in the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    done = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", copy, cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (copy / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of an environment that has the wheel and, by path, the packages of this one.

    A path in a .pth file brings the packages in, and not this environment's editable install of the checkout.
    """
    venv = tmp_path_factory.mktemp("venv")
    assert run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv).returncode == 0
    python = venv / "bin" / "python"
    inside = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv
    ).stdout.strip()
    Path(inside, "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet")
    done = run(*pip, "--ignore-installed", wheel, cwd=venv)
    assert done.returncode == 0, done.stderr
    return venv / "bin"


def test_the_wheel_holds_the_packages_and_recipes_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    wanted = {
        path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    }
    parts = [*(ROOT / "recipes").glob("*.yaml"), *(ROOT / "grpo" / "report").glob("page.*")]
    parts += (ROOT / "grpo" / "report").glob("*.js")
    wanted |= {path.relative_to(ROOT).as_posix() for path in parts}
    assert wanted - set(names) == set()
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_wheels_own_code_is_imported(installed, tmp_path):
    script = f"import {', '.join(name for name in PACKAGES if name != 'eval')}; from eval import sets\n"
    script += "print(grpo.__file__, rewards.__file__, recipes.__file__, sets.__file__)"
    done = run(installed / "python", "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(Path(path).is_relative_to(installed.parent) for path in done.stdout.split())


@pytest.mark.parametrize(
    ("command", "said"),
    [("--help", "doctor"), ("recipe list", "r1_zero_gsm8k"), ("train demo --dry-run", "group_size")],
)
def test_it_runs_from_an_empty_folder(installed, tmp_path, command, said):
    done = run(installed / "grpo", *command.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
