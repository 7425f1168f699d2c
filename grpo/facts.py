"""What is known of this machine and of what is installed on it. doctor.py says what it means.

Standard library only: this also runs on a bare machine, with a Python older than the package itself needs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

DEVICES = ("cpu", "cuda")
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # cgroup 2 and 1


@dataclass(frozen=True)
class Facts:
    """Sizes in bytes; None or empty where a thing is not there or could not be found out."""

    system: str = "Linux"
    machine: str = "x86_64"
    libc: str = "glibc 2.31"
    python: tuple[int, int] = (3, 11)
    has_venv: bool = True  # venv and ensurepip, which Debian packages apart from Python
    device: str = "cpu"  # cpu or cuda: which of the two lists is meant for this machine
    cpu_flags: frozenset[str] = frozenset()
    memory: int = 0  # RAM, or the container's limit where that is lower
    gpu_memory: tuple[int, ...] = ()  # of each GPU
    shm: int | None = None  # size of /dev/shm
    disk: int = 0  # free in the folder asked about
    compiler: str | None = None
    driver_cuda: tuple[int, int] | None = None  # newest CUDA that the NVIDIA driver serves
    packages: dict[str, str] = field(default_factory=dict)  # installed distributions, normalised names
    listed: dict[str, str] = field(default_factory=dict)  # the checkout's exact list; empty in a wheel
    torch_cuda: str | None = None  # CUDA version that torch was built for; None: a CPU build
    torchvision_error: str | None = None  # last line of `import torchvision`, where it fails
    no_network: str = "namespace"  # how a rule's worker is kept from the network; "" where it cannot be
    sandbox_error: str | None = None  # why no program can be sandboxed here


def gather(folder: Path) -> Facts:
    """The facts of the machine this runs on; `folder` is where runs, or an installation, would go.

    Raises:
        ValueError: GRPO_DEVICE is neither cpu nor cuda.
    """
    device = os.environ.get("GRPO_DEVICE") or ("cuda" if answers("nvidia-smi") else "cpu")
    if device not in DEVICES:
        raise ValueError(f"GRPO_DEVICE is {device!r}: set it to cpu or cuda, or leave it out")
    packages = installed()
    python = (sys.version_info[0], sys.version_info[1])
    return Facts(
        system=platform.system(),
        machine=platform.machine(),
        libc=libc(),
        python=python,
        has_venv=all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
        device=device,
        cpu_flags=cpu_flags(),
        memory=memory(),
        gpu_memory=gpu_memory(),
        shm=shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else None,
        disk=shutil.disk_usage(str(folder)).free,
        compiler=compiler(),
        driver_cuda=driver_cuda(),
        packages=packages,
        listed=listed(device, python),
        torch_cuda=torch_cuda(),
        torchvision_error=torchvision_error() if "torchvision" in packages else None,
        no_network=no_network(),
        sandbox_error=sandbox_error(),
    )


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.36" gives (2, 36)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3]) or (0,)


def answers(command: str) -> bool:
    """Whether a command is there and ends well."""
    try:
        done = subprocess.run([command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def read(path: str) -> str:
    """Text of a system file, "" where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def libc() -> str:
    """Name and version of the C library, "" where it is not glibc."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def cpu_flags() -> frozenset[str]:
    """Instruction set flags of the first core."""
    match = re.search(r"^flags\s*:(.*)$", read("/proc/cpuinfo"), re.MULTILINE)
    return frozenset(match.group(1).split() if match else ())


def memory() -> int:
    """RAM, or the container's limit where that is lower, in bytes."""
    try:
        ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return 0
    limits = [read(path).strip() for path in MEMORY_LIMITS]
    return min([ram] + [int(limit) for limit in limits if limit.isdigit()])


def gpu_memory() -> tuple[int, ...]:
    """Memory of each NVIDIA GPU in bytes, as nvidia-smi lists them in MiB; () without one."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = [line.strip() for line in done.stdout.decode().splitlines()]
    return tuple(int(line) << 20 for line in lines if line.isdigit())


def compiler() -> str | None:
    """Path of the C++ compiler that torch.compile would call."""
    wanted = [os.environ.get("CXX", ""), "g++", "clang++"]
    return next((path for path in map(shutil.which, wanted) if path), None)


def driver_cuda() -> tuple[int, int] | None:
    """Newest CUDA version that the NVIDIA driver serves, None without a driver."""
    number = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if failed else (number.value // 1000, number.value % 1000 // 10)


def installed() -> dict[str, str]:
    """Versions of the installed distributions by normalised name; of two, the one that is imported."""
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7
        return {}
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return found


def listed(device: str, python: tuple[int, int]) -> dict[str, str]:
    """The exact versions of this checkout's list for a device and a Python; {} outside a checkout."""
    folder = Path(__file__).resolve().parent.parent / "requirements"
    own = folder / f"{device}-{python[0]}.{python[1]}.txt"
    text = read(str(own if own.exists() else folder / f"{device}.txt"))
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def torch_cuda() -> str | None:
    """CUDA version that torch was built for, read from its files: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    text = read(str(Path(spec.origin).parent / "version.py")) if spec and spec.origin else ""
    match = re.search(r"^cuda\b[^=]*= *['\"]([\d.]+)", text, re.MULTILINE)
    return match.group(1) if match else None


def torchvision_error() -> str | None:
    """The last line of what `import torchvision` says where it fails, in a process of its own."""
    command = [sys.executable, "-c", "import torchvision"]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    done = subprocess.run(command, stdout=null, stderr=pipe, text=True)
    return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else None


def no_network() -> str:
    """The way rewards/network.py takes the network from a process, tried in one; "" where none works."""
    script = Path(__file__).resolve().parent.parent / "rewards" / "network.py"
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip()


def sandbox_error() -> str | None:
    """Why rule `code` cannot sandbox a program here: a trial, in a process of its own."""
    root = str(Path(__file__).resolve().parent.parent)
    ask = f"import sys; sys.path.insert(0, {root!r})\n"
    ask += "from rewards.sandbox import refusal\nprint(refusal() or '')"
    pipe = subprocess.PIPE
    done = subprocess.run([sys.executable, "-c", ask], stdout=pipe, stderr=pipe, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    return done.stdout.strip() or None
