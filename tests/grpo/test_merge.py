"""`grpo merge`: one whole checkpoint of adapter and base, or one clear line."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from grpo.errors import RunError, UserError
from grpo.merge import check_folders, merge_adapter
from grpo.policy import load_policy

SEQUENCES = [[5, 6, 7, 8, 9, 10, 11], [9, 8, 7]]


@pytest.fixture
def saved(recipe_of, base, tokenizer, tmp_path):
    """saved("{kind: dora}"): a policy with a moved adapter, and the folder it was saved in."""

    def make(spec="{rank: 4}", *overrides):
        policy, _ = load_policy(recipe_of(f"model.adapter={spec}", *overrides), base, base, tokenizer)
        with torch.no_grad():
            for index, (_, tensor) in enumerate(policy.named_masters()):
                tensor += 0.1 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(index))
        policy.save(tmp_path / "step-4")
        return policy, tmp_path / "step-4"

    return make


def logprobs(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    found = []
    for sequence in SEQUENCES:
        ids = torch.tensor([sequence])
        with torch.no_grad():
            rows = model(ids).logits[0, :-1].float().log_softmax(-1)
        found.append(rows.gather(1, ids[0, 1:, None])[:, 0].tolist())
    return found


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_merged_checkpoint_is_the_adapters_model(saved, kind, tmp_path, base):
    policy, folder = saved(f"{{kind: {kind}, rank: 4}}")
    assert merge_adapter(folder, tmp_path / "out") < 1e-5
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json",
    }  # fmt: skip
    assert not (tmp_path / "out.partial").exists()
    for ours, theirs in zip(policy.sequence_logprobs(SEQUENCES), logprobs(tmp_path / "out"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    far = max(
        abs(a - b) for a, b in zip(policy.sequence_logprobs(SEQUENCES)[0], logprobs(base)[0], strict=True)
    )
    assert far > 0.1  # the base itself is elsewhere
    merged, sent = load_file(tmp_path / "out" / "model.safetensors"), dict(policy.weights())
    assert merged.keys() == sent.keys()
    assert all(torch.allclose(merged[name], sent[name], atol=1e-6) for name in sent)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").decode([4, 5]) == "</think><answer>"


def test_the_type_is_the_bases_or_what_is_asked_for(saved, tmp_path):
    _, folder = saved()
    merge_adapter(folder, tmp_path / "own")
    gap = merge_adapter(folder, tmp_path / "narrow", "bfloat16")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "own").dtype == torch.float32
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "narrow").dtype == torch.bfloat16
    assert 1e-4 < gap < 0.1  # it is told what rounding costs


def test_a_merge_that_gives_another_model_is_not_written(saved, tmp_path, monkeypatch):
    from peft.tuners.lora.layer import Linear

    _, folder = saved()
    right = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: 1.2 * right(self, name))
    with pytest.raises(RunError, match="the merged model's log-probs are"):
        merge_adapter(folder, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_what_cannot_be_merged_is_one_line(saved, base, tmp_path):
    _, folder = saved()
    with pytest.raises(UserError, match=r"^CHECKPOINT: .* holds no adapter_config.json. Give the"):
        check_folders(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match=r"^CHECKPOINT: .*nowhere is no folder"):
        check_folders(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UserError, match=r"^OUT: .* exists already"):
        check_folders(folder, tmp_path)
    check_folders(folder, tmp_path / "out")


@pytest.mark.parametrize("broken", ["no base", "no weights", "other shapes", "no json"])
def test_a_broken_adapter_is_one_line(saved, tmp_path, broken):
    _, folder = saved()
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if broken == "no base":
        kept = json.loads(config.read_text())
        config.write_text(json.dumps({**kept, "base_model_name_or_path": str(tmp_path / "gone")}))
    elif broken == "no json":
        config.write_text("{")
    elif broken == "no weights":
        weights.unlink()
    else:
        save_file({name: tensor[:2].clone() for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(UserError) as error:
        merge_adapter(folder, tmp_path / "out")
    assert "\n" not in str(error.value)
    named = "adapter_config.json base_model_name_or_path" if broken == "no base" else "step-4"
    assert named in error.value.where
    assert not list(tmp_path.glob("out*"))


def test_the_command(saved, tmp_path):
    _, folder = saved()

    def grpo(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "grpo", "merge", *map(str, arguments)], capture_output=True, text=True
        )

    done = grpo(folder, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'out'}: log-probs differ from the adapter's by ")
    again = grpo(folder, tmp_path / "out")
    assert again.returncode == 2
    assert again.stderr == f"error: OUT: {tmp_path / 'out'} exists already. Name a folder that does not\n"
