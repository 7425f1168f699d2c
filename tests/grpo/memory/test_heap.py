"""Freed memory is reused and given back, on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from grpo.memory import heap

PROGRAM = (
    "import os\nfrom grpo.memory.heap import reuse_freed\n"
    "print('started', flush=True)\nreuse_freed()\nprint(os.getpid(), os.environ['GLIBC_TUNABLES'])\n"
)


def resident() -> int:
    """MiB of this process."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) >> 10 for row in rows if row.startswith("VmRSS"))


@pytest.mark.skipif(heap.NVIDIA.exists(), reason="needs a machine without an NVIDIA driver")
@pytest.mark.parametrize(
    ("said", "starts", "left"),
    [(None, 2, heap.NO_SMALL_CACHES), ("glibc.malloc.perturb=0", 1, "glibc.malloc.perturb=0")],
)
def test_a_program_starts_again_once_with_its_process_and_unless_the_user_has_chosen(said, starts, left):
    environ = {name: value for name, value in os.environ.items() if name != heap.VARIABLE}
    environ |= {heap.VARIABLE: said} if said else {}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environ
    ) as child:
        printed = child.communicate()[0].splitlines()
    assert printed == ["started"] * starts + [f"{child.pid} {left}"]


def test_what_a_pass_freed_goes_back_to_the_system():
    held = []
    for _ in range(600):
        held += [torch.ones(1 << 18), torch.ones(16)]  # 1 MiB, and a small block that keeps the heap's top
    full = resident()
    held = held[1::2]
    heap.return_freed(torch.device("cpu"))
    assert full - resident() > 500
    assert len(held) == 600


def test_nothing_is_done_for_a_gpu(monkeypatch):
    monkeypatch.setattr(heap, "_trim", lambda _: pytest.fail("trimmed"))
    heap.return_freed(torch.device("cuda"))
