"""Weights through an anonymous file: bit-equal, in memory or on disk, gone with its processes."""

import os
import subprocess
import sys

import pytest
import torch

from grpo.rollout.transfer import ALIGN, checksum, pack, unpack

WEIGHTS = {
    "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "b": torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16),
    "scalar": torch.tensor(3.5),
    "turned": torch.arange(12, dtype=torch.int64).reshape(3, 4).T,
    "empty": torch.empty(0, 4),
}


def path_of(parcel):
    return f"/proc/self/fd/{parcel.file.fileno()}"


@pytest.mark.parametrize("room", [1 << 20, 100, 0])  # all in memory; the first tensor alone; nothing
def test_tensors_come_back_bit_equal(room, tmp_path):
    with pack(WEIGHTS.items(), tmp_path, room) as parcel:
        held = os.readlink(path_of(parcel))
        assert ("memfd:weights" in held) == (room > 100)
        assert "(deleted)" in held
        assert os.listdir(tmp_path) == []
        back = dict(unpack(path_of(parcel), parcel.entries))
        assert back.keys() == WEIGHTS.keys()
        for name, tensor in WEIGHTS.items():
            assert back[name].dtype == tensor.dtype
            assert torch.equal(back[name], tensor)
            assert checksum(back[name]) == parcel.checksums[name] == checksum(tensor)
        assert all(entry.offset % ALIGN == 0 for entry in parcel.entries)


def test_nothing_to_send(tmp_path):
    with pack([], tmp_path) as parcel:
        assert list(unpack(path_of(parcel), parcel.entries)) == []


def test_the_checksum_sees_values_type_shape_and_one_bit():
    one = torch.zeros(4, 4)
    other = one.clone()
    other[3, 3] = -0.0  # equal as a number, other as bits
    sums = [checksum(t) for t in (one, other, one.reshape(2, 8), one.to(torch.int32))]
    assert len(set(sums)) == 4
    assert checksum(one.clone()) == sums[0]


@pytest.mark.parametrize("room", [1 << 30, 0])
def test_nothing_is_left_after_sigkill(room, tmp_path):
    code = f"""
import os, signal, torch
from pathlib import Path
from grpo.rollout.transfer import pack
parcel = pack([("a", torch.ones(1 << 20))], Path({str(tmp_path)!r}), {room})
assert os.stat(f"/proc/self/fd/{{parcel.file.fileno()}}").st_size == 4 << 20
os.kill(os.getpid(), signal.SIGKILL)
"""
    shared_memory = set(os.listdir("/dev/shm"))
    run = subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True)
    assert run.returncode == -9, run.stderr
    assert os.listdir(tmp_path) == []
    assert set(os.listdir("/dev/shm")) <= shared_memory
