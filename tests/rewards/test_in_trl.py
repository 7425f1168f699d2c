"""Our rules as reward functions of TRL's own GRPOTrainer, in a real step of training."""

from __future__ import annotations

import pytest

import rewards

NAMES = ("accuracy", "format_rule", "tag_count", "repetition", "reasoning_steps", "overlong")
GOLDS = {"2+2?": "4", "2+3?": "5"}
PIECES = ["<think>", "</think>", "<answer>4</answer>", "<answer>5</answer>", r"\boxed{4}", "First,", "x"]
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@pytest.fixture
def trainer(tmp_path):
    """A GRPOTrainer whose random model writes pieces of answers."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    words = {word: i for i, word in enumerate(["[PAD]", "[EOS]", *GOLDS, *PIECES])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", eos_token="[EOS]")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )

    def overlong(**columns):
        """A rule with an option that must be given, wrapped as docs/rewards.md says."""
        return rewards.get("overlong")(**columns, max_tokens=6, cache=4)

    rules = [overlong if name == "overlong" else rewards.get(name.removesuffix("_rule")) for name in NAMES]
    return GRPOTrainer(
        model=model,
        reward_funcs=rules,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            report_to="none",
            per_device_train_batch_size=64,
            num_generations=32,
            max_completion_length=6,
            max_steps=2,
            logging_steps=1,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": p, "answer": gold} for p, gold in GOLDS.items()]),
        processing_class=tokenizer,
    )


def read_by_eye(text: str) -> str | None:
    """The last answer after the thought, as simple as these texts allow."""
    rest = text.rpartition("</think>")[2]
    found = [piece for piece in rest.split() if "4" in piece or "5" in piece]
    return None if "<think>" in rest or not found else "4" if "4" in found[-1] else "5"


def test_ours_train_in_trl(trainer):
    trainer.train()
    logged = trainer._logs
    given = {name: list(logged["rewards"][name]) for name in NAMES}
    seen = [(GOLDS[p], read_by_eye(t)) for p, t in zip(logged["prompt"], logged["completion"], strict=True)]
    assert len(seen) == 64  # TRL keeps a batch of them
    assert given["accuracy"] == [float(gold == answer) for gold, answer in seen]
    assert list(logged["extra"]["verdict"]) == [
        "unextracted" if answer is None else "right" if gold == answer else "wrong" for gold, answer in seen
    ]
    assert set(given["accuracy"]) == {0.0, 1.0}
    tags = [sum(t.count(tag) == 1 for tag in TAGS) / 4 for t in logged["completion"]]
    assert given["tag_count"] == tags
    assert min(given["overlong"]) < 0 == max(given["overlong"])
