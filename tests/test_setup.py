"""The environment that make sets up is never a half-made one, and nobody else's is touched."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def setup():
    """The module requirements/install.py."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_finished_environment_is_known_by_its_keys(setup, tmp_path):
    assert setup.state(tmp_path / "absent") == []
    (tmp_path / setup.STATE).write_text("aaa bbb\n")
    assert setup.state(tmp_path) == ["aaa", "bbb"]


def test_a_half_made_environment_is_made_anew(setup, tmp_path, monkeypatch):
    venv = tmp_path / "venv"

    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "pip", cut_off)
    with pytest.raises(KeyboardInterrupt):
        setup.make(venv, "cpu", compiler=False)
    assert (venv / "bin" / "python").exists()
    assert setup.state(venv) == []


def test_an_environment_half_removed_is_made_anew(setup, tmp_path, monkeypatch):
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / setup.STATE).write_text("old old\n")

    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup.shutil, "rmtree", lambda path, **_: path.exists() and cut_off())
    with pytest.raises(KeyboardInterrupt):
        setup.make(venv, "cpu", compiler=False)
    assert setup.state(venv) == []


def test_a_strangers_environment_is_left_alone(setup, tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(setup.SetupError, match="was not made by"):
        setup.state(tmp_path)
    assert (tmp_path / "precious").exists()


def test_a_failure_of_pip_is_shown_with_a_hint(setup):
    with pytest.raises(setup.SetupError, match=r"(?s)no-such-package.*try Python 3\.11"):
        setup.pip(Path(sys.prefix), "--no-index", "no-such-package==1.0")


def test_torch_is_asked_for_by_its_cpu_build_and_then_from_its_own_index(setup, monkeypatch):
    asked = []

    def refuse_once(_, *arguments):
        asked.append(arguments)
        if len(asked) == 1:
            raise setup.SetupError("no such build")

    monkeypatch.setattr(setup, "pip", refuse_once)
    setup.install_torch_cpu(ROOT)
    assert asked == [("torch==2.13.0+cpu",), ("torch==2.13.0+cpu", "--index-url", setup.TORCH_CPU_INDEX)]
