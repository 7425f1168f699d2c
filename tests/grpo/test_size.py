"""How large a model a machine can train: the rule, its words, and the recipes that we ship by it."""

import re
from pathlib import Path

import pytest

from grpo import facts as facts_module
from grpo import size
from grpo.facts import Facts
from grpo.recipe_file import load_recipe
from grpo.size import GIB, check_size, largest, words

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


def test_the_rule_is_the_sum_of_its_table():
    lines = re.findall(r"^    [a-z].*?((?: +(?:\d+|-)){4})$", size.__doc__, re.M)
    rows = [[int(cell.replace("-", "0")) for cell in line.split()] for line in lines]
    full_gpu, full_cpu, lora_gpu, lora_cpu = (sum(column) for column in zip(*rows[:-1], strict=True))
    assert rows[-1] == [full_gpu, full_cpu, lora_gpu, lora_cpu]
    assert {"cuda": (full_gpu, lora_gpu), "cpu": (full_cpu, lora_cpu)} == size.BYTES


def test_by_hand():
    assert largest(80 * GIB, "cuda") == pytest.approx((3.221e9, 12.885e9), rel=1e-3)
    assert largest(16 * GIB, "cpu") == pytest.approx((0.5369e9, 0.9911e9), rel=1e-3)


@pytest.mark.parametrize(
    ("count", "said"),
    [(12.885e9, "13 B"), (9.96e9, "10 B"), (3.22e9, "3.2 B"), (9.96e8, "1.0 B"), (7.44e8, "740 M")],
)
def test_words(count, said):
    assert words(count) == said


def test_a_cpu_machine():
    found = check_size(Facts(memory=16 * GIB))
    assert found.state == "ok"
    assert "full fine-tuning up to about 540 M parameters at 4k tokens, LoRA up to 990 M" in found.what
    assert "16 GiB of RAM" in found.what


def test_the_smallest_gpu_decides_and_ram_does_not():
    found = check_size(Facts(device="cuda", memory=16 * GIB, gpu_memory=(80 * GIB, 24 * GIB)))
    assert "full fine-tuning up to about 970 M parameters" in found.what
    assert "LoRA up to 3.9 B (one GPU of 24 GiB, 2 here)" in found.what


def test_a_gpu_of_unknown_size():
    found = check_size(Facts(device="cuda"))
    assert found.state == "warn"
    assert "nvidia-smi" in found.remedy


def test_memory_of_each_gpu_is_what_nvidia_smi_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert facts_module.gpu_memory() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n[ $1 = --query-gpu=memory.total ] && echo 81559 && echo ' [N/A]' && echo 24576\n"
    )
    tool.chmod(0o755)
    assert facts_module.gpu_memory() == (81559 << 20, 24 * GIB)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_for_an_80_gb_gpu_fit_by_the_rule(path):
    recipe = load_recipe(path)
    if recipe.model.device != "cuda":
        return
    billions = float(re.search(r"([\d.]+)B$", recipe.model.path)[1])
    full, lora = largest(80 * GIB, "cuda")
    assert billions * 1e9 < (lora if recipe.model.adapter else full)
