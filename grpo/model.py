"""A causal language model as the trainer computes with it: loaded, called on chunks, and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from grpo.attention import NAME, packed_forward, register
from grpo.errors import UserError
from grpo.logprobs import tiled_logprobs
from grpo.packing import sequences_chunk
from grpo.types import Chunk

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# where architectures keep what they drop without a module for it: OPT, BioGPT, Falcon and others
DROPS = ("dropout", "activation_dropout", "attention_dropout", "hidden_dropout", "layerdrop")
LOGITS_WITHIN = 1e-2  # nats: float32 rounding of a deep model stays below


class TokenLogprobs(nn.Module):
    """A causal LM whose forward gives the log-prob and entropy of each completion token of a chunk.

    One module with one forward, so that sharding, which hangs on modules' calls, sees every pass.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, chunk: Chunk, temperature: float, entropy_grad: bool = False) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies [T], float32; entropies carry a gradient when asked to."""
        head = self.model.get_output_embeddings()
        return tiled_logprobs(
            packed_forward(self.model, chunk),
            head.weight,
            chunk.token_ids[chunk.predicted],
            temperature=temperature,
            head_bias=getattr(head, "bias", None),
            entropy_grad=entropy_grad,
        )


def load_model(path: str | Path, dtype: torch.dtype) -> PreTrainedModel:
    """A causal LM from a folder or hub id, with packed attention and without dropout.

    Raises:
        UserError: nothing loadable is there.
    """
    register()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=NAME)
    except (OSError, ValueError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"no checkpoint could be loaded from {path} ({first})",
            "model.path",
            "Give a folder in transformers format or a hub id.",
        ) from None
    for module in model.modules():
        for name in ("p",) if isinstance(module, nn.Dropout) else DROPS:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)  # with dropout the on-policy ratio would not be 1
    return model  # type: ignore[no-any-return]


@torch.no_grad()
def check_logits(model: PreTrainedModel, device: torch.device) -> None:
    """Compares our packed, tiled log-probs with the model's own forward on two short random sequences.

    An architecture that scales or caps its logits, or whose attention we do not reproduce, would otherwise
    train on wrong log-probs in silence.

    Raises:
        UserError: they differ by more than rounding.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.config.get_text_config().vocab_size
    sequences = [torch.randint(vocabulary, (n,), generator=generator).tolist() for n in (9, 5)]
    chunk = sequences_chunk(sequences, device)
    ours, _ = TokenLogprobs(model)(chunk, 1.0)  # not the prepared module: float32 in either precision
    model.set_attn_implementation("eager")
    theirs = []
    for ids in sequences:
        tokens = torch.tensor([ids], device=device)
        logits = model(tokens, use_cache=False).logits[0, :-1].float()
        theirs.append(logits.log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0])
    model.set_attn_implementation(NAME)
    worst = float((ours - torch.cat(theirs)).abs().max())
    if not worst <= LOGITS_WITHIN:
        raise UserError(
            f"{type(model).__name__} itself gives other log-probs than we do, {worst:.3g} apart",
            "model.path",
            "This architecture changes its logits or attention in a way the trainer does not reproduce.",
        )
