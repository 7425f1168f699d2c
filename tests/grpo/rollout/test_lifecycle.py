"""A real engine leaves nothing behind, however its trainer ends, and imports nothing from its folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from pathlib import Path
from grpo.rollout.vllm import VllmEngine
from grpo.rollout.wire import Load

log, scratch = Path("engine.log"), Path("scratch")
with VllmEngine(
    sys.argv[1],
    dtype="float32",
    context=64,
    version=0,
    seed=0,
    log_file=log,
    scratch=scratch,
    load=Load(1, 1, 32),
) as engine:
    print(engine.pid, flush=True)
    if sys.argv[2] == "error":
        raise KeyError("the trainer's error")
    time.sleep(600)
"""


def descendants(pid):
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.engine
@pytest.mark.parametrize("ending", ["ctrl-c", "error", "sigkill"])
def test_no_orphan_and_nothing_left(ending, checkpoint, tmp_path):
    for name in ("grpo", "rewards", "eval"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('shadowed')")
    (tmp_path / "scratch").mkdir()
    shared_memory = set(os.listdir("/dev/shm"))
    trainer = subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT, checkpoint("untied"), ending],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    engine = trainer.stdout.readline()
    assert engine, trainer.stderr.read()
    family = [] if ending == "error" else descendants(int(engine))
    if ending == "ctrl-c":
        os.killpg(trainer.pid, signal.SIGINT)
    elif ending == "sigkill":
        trainer.kill()
    _, errors = trainer.communicate(timeout=60)
    last = {"ctrl-c": "KeyboardInterrupt", "error": 'KeyError: "the trainer\'s error"', "sigkill": ""}[ending]
    assert errors.strip().endswith(last)
    deadline = time.monotonic() + 30
    while not all(map(gone, [int(engine), *family])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(map(gone, [int(engine), *family]))
    log = (tmp_path / "engine.log").read_text()
    assert "Traceback" not in log
    assert "shadowed" not in log
    assert os.listdir(tmp_path / "scratch") == []
    assert set(os.listdir("/dev/shm")) <= shared_memory


def test_without_the_safe_path_the_working_directory_would_shadow(tmp_path):
    (tmp_path / "grpo").mkdir()
    (tmp_path / "grpo" / "__init__.py").write_text("raise ImportError('shadowed')")
    run = subprocess.run(
        [sys.executable, "-m", "grpo.rollout.vllm_child"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "shadowed" in run.stderr
