import json
import os
import subprocess
import sys
from importlib import metadata

from grpo.environment import describe, git_state


def git(folder, *arguments):
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env=os.environ | identity,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_what_a_run_needs_to_be_repeated():
    found = json.loads(json.dumps(describe(7)))
    assert found["seed"] == 7
    assert found["command"] == sys.argv
    assert found["packages"]["transformers"] == metadata.version("transformers")
    assert found["hardware"]["cores"] == len(os.sched_getaffinity(0))
    assert found["hardware"]["memory_bytes"] > 2**28
    assert found["hardware"]["cpu"]
    assert found["python"] == sys.version.split()[0]


def test_git_state_tells_revision_and_changes(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    (tmp_path / ".gitignore").write_text("venv/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    revision = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == {"revision": revision, "dirty": False}
    (tmp_path / "file").write_text("two")
    assert git_state(tmp_path) == {"revision": revision, "dirty": True}


def test_a_package_installed_inside_a_checkout_is_not_part_of_it(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("venv/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "venv").mkdir()
    assert git_state(tmp_path / "venv") is None


def test_no_checkout_and_no_git_program(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe(0)["git"] is None
    assert describe(0)["hardware"]["gpus"] == []


def test_torch_is_not_loaded():
    code = "import sys; from grpo.environment import describe; describe(0); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
