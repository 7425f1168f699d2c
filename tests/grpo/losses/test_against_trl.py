"""Loss and gradient of the whole chain, packing included, against TRL's own on the same tensors."""

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from grpo.attention import packed_forward
from grpo.logprobs import tiled_logprobs
from grpo.losses.objective import objective
from grpo.packing import pack
from grpo.segments import places
from grpo.tally import Tally

TEMPERATURE, MAX_TOKENS, CAP = 0.9, 12, 1.2


def rows_of(chunk) -> list[list[int]]:
    """Prompt and completion of each sequence of a chunk, in its order."""
    before, own = places(chunk.segments)
    segment_of = [s for s, tokens in enumerate(own) for _ in tokens]
    ends = [segment_of[int(chunk.predicted[chunk.sequence == s][0])] for s in chunk.sequence.unique()]
    return [chunk.token_ids[before[end] + own[end]].tolist() for end in ends]


@pytest.fixture
def trainer_of(tmp_path, tiny_llama):
    """`make(loss_type, high, coef, corrected)`: a GRPOTrainer on the tiny model, whose loss alone is used."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    words = {"[PAD]": 0, "[BOS]": 1, "[EOS]": 2, **{f"w{i}": i for i in range(3, 40)}}
    inner = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", eos_token="[EOS]")

    def make(loss_type: str, high: float, coef: float, corrected: bool) -> GRPOTrainer:
        args = GRPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            report_to="none",
            per_device_train_batch_size=12,
            num_generations=4,
            max_completion_length=MAX_TOKENS,
            temperature=TEMPERATURE,
            loss_type=loss_type,
            epsilon=0.2,
            epsilon_high=high,
            beta=0.0,
            use_bias_correction_kl=False,
            gradient_checkpointing=False,
        )
        tiny_llama.set_attn_implementation("eager")
        trainer = GRPOTrainer(
            model=tiny_llama,
            reward_funcs=lambda completions, **columns: [0.0] * len(completions),
            args=args,
            train_dataset=Dataset.from_list([{"prompt": "w3"}]),
            processing_class=tokenizer,
        )
        # set afterwards: in the configuration they would load a reference model and start an engine
        trainer.beta, trainer.use_vllm = coef, corrected
        trainer.vllm_importance_sampling_correction = corrected
        trainer.current_gradient_accumulation_steps = 1
        return trainer

    return make


def padded(rows, left=False):
    width = max(map(len, rows))
    fill = [[0] * (width - len(row)) for row in rows]
    return torch.tensor([f + list(r) if left else list(r) + f for r, f in zip(rows, fill, strict=True)])


def current_logprobs(model, groups):
    """Log-probs of the completion tokens, a list a rollout, by the model's own forward."""
    found = []
    model.set_attn_implementation("eager")
    with torch.no_grad():
        for r in (r for g in groups for r in g.rollouts):
            n = len(r.token_ids)
            logits = model(torch.tensor([r.prompt_ids + r.token_ids])).logits[0, -n - 1 : -1]
            table = (logits / TEMPERATURE).log_softmax(-1)
            found.append(table.gather(1, torch.tensor(r.token_ids)[:, None])[:, 0])
    return found


def trl_loss(trainer, groups, old, ref):
    """TRL's loss and gradient. `old`, `ref`: lists of [tokens] a rollout, or None."""
    rollouts = [r for g in groups for r in g.rollouts]
    completions = [r.token_ids for r in rollouts]
    inputs = {
        "prompt_ids": padded([r.prompt_ids for r in rollouts], left=True),
        "prompt_mask": padded([[1] * len(r.prompt_ids) for r in rollouts], left=True),
        "completion_ids": padded(completions),
        "completion_mask": padded([[1] * len(c) for c in completions]),
        "advantages": torch.tensor([a for g in groups for a in g.advantages]),
        "num_items_in_batch": torch.tensor(sum(map(len, completions))),
    }
    if old is not None:
        inputs["old_per_token_logps"] = padded([x.tolist() for x in old])
    if ref is not None:
        inputs["ref_per_token_logps"] = padded([x.tolist() for x in ref])
    if trainer.use_vllm:
        behaviour = padded([r.logprobs for r in rollouts])
        weight = (inputs["old_per_token_logps"] - behaviour).exp().clamp(max=CAP)
        inputs["importance_sampling_ratio"] = weight
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model.train(), inputs)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def our_loss(model, groups, algorithm, old, ref, token_budget):
    model.set_attn_implementation("grpo_packed")
    model.zero_grad()
    (batch,) = pack(
        groups,
        minibatches=1,
        token_budget=token_budget,
        max_tokens=MAX_TOKENS,
        skip_zero_advantage=False,
        mask_truncated=False,
    )
    rollouts = [r for g in groups for r in g.rollouts]
    loss = 0.0
    for chunk in batch.chunks:
        rows = rows_of(chunk)
        order = [[list(r.prompt_ids + r.token_ids) for r in rollouts].index(row) for row in rows]
        chunk = replace(chunk, old=None if old is None else torch.cat([old[i] for i in order]))
        hidden = packed_forward(model, chunk)
        targets = chunk.token_ids[chunk.predicted]
        logp, entropy = tiled_logprobs(hidden, model.lm_head.weight, targets, temperature=TEMPERATURE)
        fixed = None if ref is None else torch.cat([ref[i] for i in order])
        share = objective(logp, fixed, entropy, chunk, batch.totals, algorithm, Tally())
        share.backward()
        loss += share.item()
    return loss, torch.cat([p.grad.flatten() for p in model.parameters()])


CASES = {  # TRL always has old log-probs where it corrects for an engine
    "on-policy": (False, False),
    "old": (True, False),
    "old, corrected": (True, True),
}


@pytest.mark.parametrize(("off_policy", "corrected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("coef", [0.0, 0.3])
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
def test_loss_and_gradient_are_trls(
    name, off_policy, corrected, coef, groups, preset, tiny_llama, trainer_of
):
    generator = torch.Generator().manual_seed(3)
    now = current_logprobs(tiny_llama, groups)

    def near(scale):
        return [x + scale * torch.randn(len(x), generator=generator) for x in now]

    old, ref = near(0.3) if off_policy else None, near(0.5) if coef else None
    drawn = iter(near(0.3))
    groups = [
        replace(g, rollouts=tuple(replace(r, logprobs=tuple(next(drawn).tolist())) for r in g.rollouts))
        for g in groups
    ]
    correction = {"cap": CAP} if corrected else {"name": "none"}
    algorithm = preset(name, kl={"coef": coef}, correction=correction)
    trainer = trainer_of(name, algorithm.surrogate.options["high"], coef, corrected)
    expected, slope = trl_loss(trainer, groups, old, ref)
    for token_budget in (10_000, 30):
        found, gradient = our_loss(tiny_llama, groups, algorithm, old, ref, token_budget)
        assert found == pytest.approx(expected, abs=1e-5)
        assert torch.allclose(gradient, slope, atol=1e-5, rtol=1e-5)
