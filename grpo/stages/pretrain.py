"""Pre-training: a small base checkpoint by next-token prediction on a synthetic corpus, cached."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.sets import registry
from grpo import corpus
from grpo.cache import cache_root, fill
from grpo.corpus import CORPORA, TAGS, Corpus, Example
from grpo.errors import UserError
from grpo.hashing import in_holdout
from grpo.recipe import Pretrain, Recipe

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from grpo.model import TokenLogprobs
    from grpo.view import View

PAD, END, UNKNOWN = "<pad>", "<end>", "<unk>"
INIT_STD = 0.06  # for widths near 128
WARMUP_STEPS, FINAL_LR = 50, 0.02  # linear warm-up, then linear decay to this share of the peak
SHOW_EVERY = 25  # steps

Progress = Callable[[int, dict[str, float]], None]


def cache_folder(recipe: Recipe) -> Path:
    """Where the recipe's base checkpoint is, or will be.

    The key covers the recipe's pre-training, the rows it may not see, the code of the corpus and of this
    stage, and the versions of the packages that compute it.
    """
    assert recipe.pretrain is not None
    parts = {
        "pretrain": recipe.pretrain.model_dump(mode="json"),
        "data": [recipe.data.options, recipe.data.holdout, recipe.data.split_key],
        "code": [inspect.getsource(corpus), inspect.getsource(sys.modules[__name__])],
        "versions": [importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers")],
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / "pretrained" / f"{recipe.pretrain.corpus}-{key}"


def pretrain(recipe: Recipe, view: View, overwrite: bool = False) -> Path:
    """The recipe's base checkpoint, trained now or taken from the cache.

    Args:
        recipe: one with a `pretrain` section.
        view: told of the stage and, every few steps, of its loss.
        overwrite: train again although it is cached.

    Returns:
        A folder in transformers format, with tokenizer.

    Raises:
        UserError: no such section or corpus, or held-out rows would be seen in it.
    """
    spec = recipe.pretrain
    if spec is None:
        raise UserError(
            "the recipe has no pretrain section", "pretrain", "Add one, or train model.path as it is."
        )
    if spec.corpus not in CORPORA:
        raise UserError(
            f"there is no corpus {spec.corpus!r}", "pretrain.corpus", f"Known: {', '.join(CORPORA)}."
        )
    own_key = registry.get(spec.corpus).split_key
    if recipe.data.train.partition(":")[0] != spec.corpus or recipe.data.split_key not in (None, own_key):
        raise UserError(
            "the corpus cannot leave out what is held out here",
            "data",
            f"Train on the set {spec.corpus} by its own split key, or give a checkpoint as model.path.",
        )
    target = cache_folder(recipe)
    if (target / "config.json").exists() and not overwrite:
        view.note(f"base checkpoint from {target}")
        return target
    view.stage("pre-training the base", spec.steps)

    def progress(step: int, metrics: dict[str, float]) -> None:
        if step % SHOW_EVERY == 0 or step == spec.steps:
            view.step(step, metrics)

    kind = CORPORA[spec.corpus]
    tokenizer = build_tokenizer(kind)
    model = train_decoder(
        spec,
        kind,
        tokenizer,
        recipe.data.options,
        partial(in_holdout, fraction=recipe.data.holdout),
        progress,
    )

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return fill(target, write)


def build_tokenizer(kind: Corpus) -> PreTrainedTokenizerFast:
    """One token a character, and one a tag. Tags are ordinary tokens, so that decoding keeps them."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([PAD, END, UNKNOWN, *TAGS, *kind.alphabet])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"</?[a-z]+>|[\s\S]"), behavior="isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def build_decoder(spec: Pretrain, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A small Llama with tied embeddings, random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from grpo.attention import NAME, register

    register()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.hidden_size,
        intermediate_size=4 * spec.hidden_size,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        max_position_embeddings=spec.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=INIT_STD,
        rope_parameters={"rope_type": "default", "rope_theta": spec.rope_theta},
    )
    torch.manual_seed(spec.seed)
    model: LlamaForCausalLM = LlamaForCausalLM(config)
    model.set_attn_implementation(NAME)
    return model


def train_decoder(
    spec: Pretrain,
    kind: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    options: dict[str, Any],
    excluded: Callable[[str], bool],
    progress: Progress,
) -> LlamaForCausalLM:
    """Trains a new decoder on the corpus by next-token prediction."""
    import torch

    from grpo.model import TokenLogprobs

    model = build_decoder(spec, tokenizer)
    module = TokenLogprobs(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=spec.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / WARMUP_STEPS) * max(FINAL_LR, 1 - step / spec.steps),
    )
    stream = kind.examples(spec, options, excluded)
    for step in range(spec.steps):
        loss = example_loss(module, tokenizer, list(itertools.islice(stream, spec.batch_size)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress(step + 1, {"loss": float(loss.detach())})
    return model


def example_loss(
    module: TokenLogprobs, tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example]
) -> Any:
    """Mean negative log-prob of every token but the first of a packed batch, end tokens included.

    Prompts are predicted too, as in any pre-training. On completions alone the same budget also teaches to
    answer at once, and leaves reinforcement nothing to choose between.
    """
    from grpo.packing import sequences_chunk

    rows = tokenizer([f"{e.prompt}{e.completion}{END}" for e in examples])["input_ids"]
    return -module(sequences_chunk(sorted(rows, key=len)), 1.0)[0].mean()
