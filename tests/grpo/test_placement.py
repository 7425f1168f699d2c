"""Recipes for devices that this machine may not have."""

import os
import subprocess
import sys

import pytest
import torch

from grpo.errors import UserError
from grpo.placement import check_devices

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="hardware: a GPU is visible here")


@on_cpu
def test_a_recipe_for_a_gpu_is_refused_without_one(recipe_of):
    with pytest.raises(UserError, match=r"model\.device: .*no CUDA device.*grpo train demo") as refused:
        check_devices(recipe_of("model.device=cuda"))
    assert "\n" not in str(refused.value)
    for device in ("auto", "cpu"):
        check_devices(recipe_of(f"model.device={device}"))


@on_cpu
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rollout.device=cuda:1", "rollout.device: no cuda:1 is visible here; CUDA devices: 0"),
        ("rollout.sleep=true", "rollout.sleep: vLLM on a CPU cannot sleep"),
    ],
)
def test_placement_of_the_engine_is_refused_without_a_gpu(recipe_of, override, said):
    with pytest.raises(UserError, match=said) as refused:
        check_devices(recipe_of("rollout.engine=vllm", override))
    assert refused.value.exit_code == 2
    assert "Leave it out" in str(refused.value)


@on_cpu
def test_it_is_told_before_any_work(tmp_path):
    """The data are not there either: had they been read first, that would be the line."""
    environment = {**os.environ, "GRPO_DATA": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "grpo", "train", "r1_zero_gsm8k", f"output.folder={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: model.device: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
