"""The sandbox: each wall is tried by a program that would get through without it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from rewards import network
from rewards.inside import limits
from rewards.sandbox import BOX_BYTES, Limits, Sandboxed, memory_file
from rewards.seccomp import CLONE3, REFUSED, refusing_filter

pytestmark = pytest.mark.usefixtures("sandbox_here")
PATHS = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def sandboxed(source, stdin=b"", seconds=20.0, memory=512):
    """Exit code, output and last line of stderr."""
    program = memory_file(source.encode())
    try:
        with Sandboxed("script", [str(program)], Limits(seconds, memory), stdin, [program]) as process:
            return process.wait(), process.output(), process.last_error()
    finally:
        os.close(program)


def bare(source):
    """What the same program prints without a sandbox."""
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True).stdout


@contextlib.contextmanager
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


ESCAPES = {
    "reads the system's files": "print(open('/etc/passwd').read()[:1] != '')",
    "lists the home folder": "print(len(__import__('os').listdir({home!r})) == {entries})",
    "reads this project": "print(open({ours!r}).read()[:3] == chr(34) * 3)",
    "reads the secret beside it": "print(open({secret!r}).read() == 'secret')",
    "writes outside": "print(open({written!r}, 'w').write('x') == 1)",
    "sees other processes": "print(len(__import__('os').listdir('/proc')) > 1)",
    "sees devices": "print(__import__('os').path.exists('/dev/zero'))",
    "sees tools": "print(__import__('os').path.exists('/bin/sh'))",
    "sees our environment": "print('PLANTED_SECRET' in __import__('os').environ)",
    "connects to this machine": (
        "import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)\nprint(True)"
    ),
    "forks": "import os\nif os.fork() == 0: os._exit(0)\nprint(True)",
    "starts a program": "import subprocess\nprint(subprocess.run([{python!r}, '-c', '']).returncode == 0)",
    "spawns": "import os\nprint(os.posix_spawn({python!r}, ['python', '-c', ''], {{}}) > 0)",
    "makes a process by number": (
        "import ctypes, os\nmade = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)\n"
        "if made == 0: os._exit(0)\nprint(made > 0)"
    ),
    "hides memory in a file": "import os\nprint(os.memfd_create('x') > 0)",
    "raises its limits": (
        "import resource as r\nr.setrlimit(r.RLIMIT_AS, (1 << 40, r.RLIM_INFINITY))\nprint(True)"
    ),
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_program_gets_out(escape, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_SECRET", "x")
    (tmp_path / "secret").write_text("secret")
    home = os.path.expanduser("~")
    with listener() as server:
        source = ESCAPES[escape].format(
            home=home,
            entries=len(os.listdir(home)),
            ours=os.path.abspath(limits.__file__),
            secret=str(tmp_path / "secret"),
            written=str(tmp_path / "written"),
            port=server.getsockname()[1],
            python=sys.executable,
        )
        code, printed, _ = sandboxed(source)
        assert "True" not in printed
        assert code is not None
        with pytest.raises(BlockingIOError):
            server.accept()
        assert not (tmp_path / "written").exists()
        assert bare(source) == "True\n"  # the attack itself works


BOMBS = {
    "forks": ("import os\nwhile True: os.fork()", "PermissionError"),
    "memory": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "MemoryError"),
    "threads": (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "RuntimeError: can't start new thread",
    ),
    "output": ("while True: print('x' * 1000)", "File too large"),
    "one big file": ("open('x', 'wb').truncate(1 << 40)", "File too large"),
    "many files": (
        "for i in range(1000): open(str(i), 'wb').write(bytes(1 << 20))",
        "No space left on device",
    ),
    "pipes": ("import os\nwhile True: os.pipe()", "Too many open files"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_hurt_themselves_alone(bomb):
    source, words = BOMBS[bomb]
    code, _, error = sandboxed(source)
    assert code not in (None, 0)
    assert words in error


def test_the_folder_is_empty_and_as_large_as_said():
    source = "import os\nprint(os.listdir('.'), os.statvfs('.').f_blocks * os.statvfs('.').f_frsize)"
    assert sandboxed(source)[1] == f"[] {BOX_BYTES}\n"


def test_it_inherits_no_descriptor_but_its_own():
    """Neither bubblewrap's status, which could forge an exit code, nor the filter."""
    source = (
        "import os\nfound = []\nfor file in range(64):\n    try: os.fstat(file)\n"
        "    except OSError: continue\n    found.append(file)\nprint(found)"
    )
    assert sandboxed(source)[1] == "[0, 1, 2]\n"


def test_what_it_is_given_cannot_be_changed():
    code, _, error = sandboxed("import os\nos.write(0, b'x')", b"given")
    assert (code, error.split(":")[0]) in [(1, "PermissionError"), (1, "OSError")]
    assert sandboxed("print(input())", b"given")[1] == "given\n"


@pytest.mark.parametrize(
    ("end", "code"), [("exit(3)", 3), ("import os\nos.kill(os.getpid(), 9)", 137), ("1 / 0", 1)]
)
def test_exit_codes(end, code):
    assert sandboxed(end)[0] == code


def test_each_refused_call_is_refused():
    numbers = [*REFUSED.values(), 57 | 0x40000000]
    source = (
        "import ctypes, errno\ncall = ctypes.CDLL(None, use_errno=True).syscall\n"
        f"for number in {numbers}:\n    ctypes.set_errno(0)\n    call(number, 0, 0, 0, 0, 0)\n"
        "    print(number, errno.errorcode.get(ctypes.get_errno()))\n"
        f"call({CLONE3}, 0, 0)\nprint(errno.errorcode[ctypes.get_errno()])\n"
        "print(call(39) > 0)"  # getpid
    )
    _, printed, error = sandboxed(source)
    assert error == ""
    assert printed.splitlines() == [*(f"{number} EPERM" for number in numbers), "ENOSYS", "True"]


def test_the_filter_is_whole_instructions():
    assert len(refusing_filter()) % 8 == 0
    assert len(refusing_filter()) // 8 <= 4096  # BPF_MAXINSNS


def test_processor_time_is_limited():
    source = "from rewards.inside import limits\nlimits.apply(512, 1)\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", source], env=PATHS)
    assert -done.returncode in (9, 24)  # SIGKILL, SIGXCPU


@pytest.mark.parametrize("way", network.WAYS)
def test_it_starts_where_the_network_is_gone_and_memory_is_limited(way):
    """As in a worker of the runner, under either way of taking its network away."""
    source = (
        "import resource\nfrom rewards import network, sandbox\n"
        f"try: network.WAYS[{way!r}]()\nexcept OSError: print('refused')\nelse:\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "    print(sandbox.refusal())"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=PATHS)
    if done.stdout == "refused\n":
        pytest.skip(f"hardware: this kernel allows no {way}")
    assert done.stdout == "None\n", done.stderr


def test_a_lower_limit_of_the_systems_stays():
    source = (
        "import resource as r\nfrom rewards.inside import limits\n"
        "r.setrlimit(r.RLIMIT_AS, (1 << 30, 1 << 30))\nlimits.apply(4096, 60)\n"
        "print(*r.getrlimit(r.RLIMIT_AS), *r.getrlimit(r.RLIMIT_NPROC))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=PATHS)
    assert done.stdout.split() == [str(1 << 30)] * 2 + [str(limits.THREADS)] * 2, done.stderr


def test_leaving_it_ends_it(eventually):
    program = memory_file(b"import time\ntime.sleep(4321)")
    with Sandboxed("script", [str(program)], Limits(0.2, 512), files=[program]) as process:
        pid = process._process.pid
        assert process.wait() is None
    os.close(program)
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))
