"""Runs a piece of Python where it can harm nothing: bubblewrap, a seccomp filter and resource limits.

Inside there is the Python that runs us with its standard library, the system's libraries, /dev/null, and an
empty folder /box of 64 MiB in memory. No network, no other file, no process but its own and none to be made,
no terminal, no environment. What stays open: the kernel itself, the time until the deadline
and, where we are root, as many threads as fit into the memory.

    sandbox ── bwrap ── init of a process namespace ── python, limits set ── rewards.inside.MODULE
       │                                                                          │
       └── output, errors: files in memory, read when it has ended ◄──────────────┘

Standard library only: `grpo doctor` asks `refusal` on machines where nothing else is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import platform
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import rewards
from rewards.errors import RuleError
from rewards.seccomp import refusing_filter

LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
BOX, OURS = "/box", "/ours"  # its folder, and where rewards.inside is seen
BOX_BYTES = 64 << 20
NOBODY = "65534"
_ENTRY = "import sys; sys.path.insert(0, sys.argv[1]); from rewards.inside import {0}; {0}.main(sys.argv[2:])"
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    seconds: float  # of wall time; the same, rounded up and one more, of processor time
    memory: int  # MiB of address space


class Sandboxed:
    """A module of rewards.inside, started in a sandbox of its own. Use it as a context: leaving it kills.

    Args:
        module: its `main` is called with the limits, then `arguments`.
        stdin: what it reads.
        files: descriptors that it inherits under the same numbers.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        limits: Limits,
        stdin: bytes = b"",
        files: Sequence[int] = (),
    ) -> None:
        self._open = contextlib.ExitStack()
        self.deadline = time.monotonic() + limits.seconds
        try:
            given, filter_file = self._file(stdin), self._file(refusing_filter())
            self._output, self._errors, self._status = self._file(), self._file(), self._file()
            words = [str(limits.memory), str(int(limits.seconds) + 1), *arguments]
            python = [_python(), "-sSP", "-c", _ENTRY.format(module), OURS, *words]
            self._process = subprocess.Popen(
                [*_walls(self._status, filter_file), "--", *python],
                stdin=given,
                stdout=self._output,
                stderr=self._errors,
                pass_fds=[self._status, filter_file, *files],
                env=_environment(),
            )
        except BaseException:
            self._open.close()
            raise
        self._open.callback(self._kill)

    def __enter__(self) -> Sandboxed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def wait(self) -> int | None:
        """Waits until it has ended: its exit code, 128 and the signal that killed it, or None out of time.

        Raises:
            OSError: bubblewrap could not start it.
        """
        handle = os.pidfd_open(self._process.pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if not poll.poll(max(0.0, self.deadline - time.monotonic()) * 1000):
                return None
        finally:
            os.close(handle)
        self._process.wait()
        code = _exit_code(_content(self._status))
        if code is None:
            raise OSError(f"bubblewrap failed: {self.last_error() or 'no message'}")
        return code

    def output(self) -> str:
        """What it has printed."""
        return _content(self._output)

    def last_error(self) -> str:
        """The last line that it wrote to stderr."""
        return (_content(self._errors).strip().splitlines() or [""])[-1][:300]

    def _file(self, content: bytes | None = None) -> int:
        """A nameless file in memory: sealed with its content, or empty and open to be written."""
        file = memory_file(content)
        self._open.callback(os.close, file)
        return file

    def _kill(self) -> None:
        self._process.kill()  # the kernel kills the whole process namespace with it
        self._process.wait()


def memory_file(content: bytes | None = None) -> int:
    """A descriptor of a nameless file in memory: sealed with its content, or empty and open to be written."""
    file = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if content is not None:
        with open(os.dup(file), "wb") as writer:
            writer.write(content)
        os.lseek(file, 0, os.SEEK_SET)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
    return file


@functools.cache
def refusal() -> RuleError | None:
    """Why nothing can be sandboxed on this machine, or None where it can. Tries it once."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        what = f"{platform.system()} on {platform.machine()} has no sandbox"
        return RuleError(what, "", "Use Linux on x86_64")
    if shutil.which("bwrap") is None:
        return RuleError("bubblewrap is not installed", "", "Install it (Debian: apt install bubblewrap)")
    instead = "Allow user namespaces (a container's seccomp profile, a sysctl), with bubblewrap 0.7 or newer"
    try:
        with Sandboxed("hello", [], Limits(20.0, 256)) as trial:
            code, said = trial.wait(), trial.output()
    except OSError as error:
        return RuleError(f"this machine denies isolation: {error}", "", instead)
    if code != 0 or said != "hello":
        what = f"this machine denies isolation: a trial ended with {code} and printed {said!r:.60}"
        return RuleError(what, "", instead)
    return None


def _walls(status: int, filter_file: int) -> list[str]:
    """The command line of bubblewrap."""
    walls = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-user",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
    ]
    walls += ["--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY]
    for folder in LIBRARIES:
        if os.path.islink(folder):
            walls += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            walls += ["--ro-bind", folder, folder]
    for path in (_python(), os.path.join(sys.base_prefix, "lib"), os.path.join(sys.base_prefix, "lib64")):
        if os.path.exists(path) and os.path.dirname(path) != "/usr":
            walls += ["--ro-bind", path, path]
    inside = Path(rewards.__file__).resolve().parent / "inside"
    walls += ["--ro-bind", str(inside), f"{OURS}/rewards/inside", "--dev-bind", "/dev/null", "/dev/null"]
    walls += ["--size", str(BOX_BYTES), "--tmpfs", BOX, "--chdir", BOX, "--remount-ro", "/"]
    return [*walls, "--json-status-fd", str(status), "--seccomp", str(filter_file)]


def _python() -> str:
    """The interpreter itself, behind the links that a virtual environment makes."""
    return os.path.realpath(sys.executable)


def _environment() -> dict[str, str]:
    """Nothing of ours but where libpython lies. One hash seed: a set is printed alike each time."""
    library = os.path.join(sys.base_prefix, "lib")
    own = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return own | {
        "LD_LIBRARY_PATH": library,
        "HOME": BOX,
        "TMPDIR": BOX,
    }


def _exit_code(status: str) -> int | None:
    """From bubblewrap's status lines, which it writes outside: set only if the program was started."""
    for line in status.splitlines():
        code = json.loads(line).get("exit-code")
        if code is not None:
            return int(code)
    return None


def _content(file: int) -> str:
    size = os.fstat(file).st_size
    return os.pread(file, size, 0).decode(errors="replace")
