"""A child never outlives its parent, and its death is explained. The children here are small scripts."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from grpo.errors import EngineError, UserError
from grpo.rollout.process import Child, last_words

CHILD = """
import os, signal, subprocess, sys, threading, time
from multiprocessing.connection import Connection
from grpo.errors import UserError
from grpo.rollout.process import Outbox, follow_parent, receive_file

line = Connection(int(sys.argv[1]))
start = threading.Thread.start
if "LATE" in os.environ:  # its threads never get their turn
    threading.Thread.start = lambda self: None
follow_parent(line, int(sys.argv[2]))
threading.Thread.start = start
outbox = Outbox(line)
while (message := line.recv()) is not None:
    if message == "crash":
        raise ValueError("the child's last words")
    if message == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if message == "refuse":
        outbox.send(UserError("too small", "rollout.context", "enlarge it"))
    if message == "sleep":
        time.sleep(600)
    if message == "grandchild":
        outbox.send(subprocess.Popen(["sleep", "600"]).pid)
    if message == "file":
        outbox.send(os.read(receive_file(line), 100))
    if message == "path":
        outbox.send(sys.path)
    if isinstance(message, bytes):
        outbox.send(message)
outbox.flush()
"""
PARENT = """
import os, sys, time
from pathlib import Path
from grpo.rollout.process import Child

child = Child("small_child", Path("child.log"), dict(os.environ))
child.send("grandchild")
print(child.pid, child.receive(), flush=True)
{then}
"""


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "small_child.py").write_text(CHILD)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "modules")}


@pytest.fixture
def child(tmp_path, environment):
    child = Child("small_child", tmp_path / "logs" / "child.log", environment)
    yield child
    child.close()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_gone(*pids):
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


def run_parent(folder, environment, then):
    """The parent as a process of its own; its child's and grandchild's process ids."""
    code = PARENT.format(then=textwrap.dedent(then))
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    return parent, pids


def test_close_ends_child_and_grandchild(child):
    child.send("grandchild")
    grandchild = child.receive(30)
    assert is_alive(grandchild)
    child.close()
    child.close()
    assert wait_gone(child.pid, grandchild)


def test_killing_the_parent_ends_child_and_grandchild(tmp_path, environment):
    parent, pids = run_parent(tmp_path, environment, "time.sleep(600)")
    parent.kill()
    parent.communicate()
    assert wait_gone(*pids)


def test_the_main_thread_alone_takes_the_grandchild_along(tmp_path, environment):
    parent, pids = run_parent(tmp_path, {**environment, "LATE": "1"}, "time.sleep(600)")
    parent.kill()
    parent.communicate()
    assert wait_gone(*pids)


def test_a_copy_of_the_line_does_not_keep_the_child_alive(tmp_path, environment):
    fork = """
    fork = os.fork()
    if fork: print(fork, flush=True)
    time.sleep(600)
    """
    parent, pids = run_parent(tmp_path, environment, fork)
    copy = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    assert wait_gone(*pids)
    assert is_alive(copy)
    os.kill(copy, signal.SIGKILL)


def test_an_error_in_the_parent_ends_child_and_grandchild(tmp_path, environment):
    parent, pids = run_parent(tmp_path, environment, "raise KeyError('x')")
    parent.communicate()
    assert wait_gone(*pids)


def test_the_end_of_another_thread_does_not_end_the_child(tmp_path, environment):
    then = """
    import threading
    def start(): global other; other = Child("small_child", Path("other.log"), dict(os.environ))
    thread = threading.Thread(target=start); thread.start(); thread.join()
    time.sleep(0.5)
    other.send(b"alive"); print(other.receive(30)); other.close(); child.close()
    """
    parent, pids = run_parent(tmp_path, environment, then)
    assert parent.communicate()[0] == "b'alive'\n"
    assert wait_gone(*pids)


def test_ctrl_c_reaches_the_parent_alone(tmp_path, environment):
    then = """
    try: print("waiting", flush=True); time.sleep(600)
    except KeyboardInterrupt: child.send(b"still here"); print(child.receive(30)); child.close()
    """
    parent, pids = run_parent(tmp_path, environment, then)
    assert parent.stdout.readline() == "waiting\n"
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
    assert parent.communicate()[0] == "b'still here'\n"
    assert wait_gone(*pids)
    assert (tmp_path / "child.log").read_text() == ""


def test_a_crash_gives_its_last_words(child):
    child.send("crash")
    with pytest.raises(EngineError, match=r"died \(exit code 1\): ValueError: the child's last words"):
        child.receive()
    assert wait_gone(child.pid)
    with pytest.raises(EngineError, match="last words"):
        child.send(b"x")


def test_a_signal_is_named(child):
    child.send("kill")
    with pytest.raises(EngineError, match=r"died \(killed by SIGKILL, out of memory perhaps\)"):
        child.receive()


def test_no_answer_ends_the_child(child):
    child.send("sleep")
    with pytest.raises(EngineError, match="no answer in 0 s"):
        child.receive(0.2)
    assert wait_gone(child.pid)


def test_an_error_of_ours_is_raised_as_it_is(child):
    child.send("refuse")
    with pytest.raises(UserError, match=r"rollout.context: too small. enlarge it") as raised:
        child.receive()
    assert raised.value.exit_code == 2
    assert wait_gone(child.pid)


def test_neither_side_blocks_the_other(child):
    block = bytes(1 << 20)
    for _ in range(40):  # far more than the line holds, while the child answers each and nobody reads
        child.send(block)
    assert all(child.receive(30) == block for _ in range(40))


def test_a_file_is_handed_over(child, tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"content")
        file.flush()
        file.seek(0)
        child.send("file")
        child.send_file(file.fileno())
        assert child.receive(30) == b"content"


def test_the_working_directory_is_not_on_the_path(child):
    child.send("path")
    assert not {"", os.getcwd()} & set(child.receive(30))


def test_last_words_prefer_errors_and_drop_the_loggers_prefix(tmp_path):
    log = tmp_path / "log"
    log.write_text("start\nTorchError: no\n(Main pid=3) WARNING 11-24 22:50:00 [cpu.py:140] then this\n\n")
    assert last_words(log) == "TorchError: no"
    log.write_text("(Main pid=3) WARNING 11-24 22:50:00 [cpu.py:140] then this\n")
    assert last_words(log) == "then this"
    log.write_text("")
    assert last_words(log) == "it left no words"


def test_threads_see_a_dead_child_too(child):
    seen = []

    def wait():
        with pytest.raises(EngineError, match="SIGKILL"):
            child.receive()
        seen.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    os.kill(child.pid, signal.SIGKILL)
    thread.join(30)
    assert seen
