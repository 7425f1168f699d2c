"""A GGUF file as a checkpoint in transformers format: dequantised once, kept in the cache.

A quantised file can be run but not trained: its numbers are codes of 2 to 8 bits. Dequantised to float32 they
are ordinary weights, those of the quantised model, which differ a little from the weights it was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from grpo.cache import cache_root, fill
from grpo.errors import UserError

MAGIC = b"GGUF"


def checkpoint_of(name: str, parts: Sequence[Path], sha256: str | None = None, add_bos: bool = False) -> Path:
    """The folder with the dequantised model, tokenizer and chat template of a GGUF file.

    Args:
        name: what the folder is called after, beside the file's hash.
        parts: the file, or the parts it was cut into, in order.
        sha256: what the file must hash to; None where any will do.
        add_bos: whether the tokenizer begins a text with its BOS token, where the file does not say so.

    Raises:
        UserError: the file is no GGUF file, is damaged, or is of a kind that transformers does not read.
    """
    where = str(parts[0])
    with parts[0].open("rb") as head:
        if head.read(4) != MAGIC:
            raise UserError("not a GGUF file", where, "It must begin with the letters GGUF")
    found = _hash(parts)
    if sha256 not in (None, found):
        raise UserError("damaged: it is not the file that was published", where, "Install the package again")
    target = folder_of(name, parts)
    if not (target / "config.json").is_file():
        fill(target, partial(_dequantise, parts, add_bos))
    return target


def folder_of(name: str, parts: Sequence[Path]) -> Path:
    """Where the dequantised file is, or will be: its hash is in the name."""
    return cache_root() / "gguf" / f"{name}-{_hash(parts)[:16]}"


def _hash(parts: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


def _dequantise(parts: Sequence[Path], add_bos: bool, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    quiet = contextlib.redirect_stderr(io.StringIO())  # a bar that no setting of transformers turns off
    with tempfile.TemporaryDirectory(dir=folder.parent) as joined, quiet:
        file = _joined(parts, Path(joined))
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            model: Any = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=file.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
            )
        except (ValueError, KeyError, NotImplementedError, OSError, RuntimeError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(
                f"transformers does not read this GGUF file: {first}",
                str(parts[0]),
                "Use a causal language model of a common architecture and quantisation, or its safetensors",
            ) from error
    if add_bos:
        tokenizer.add_bos_token = True
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _joined(parts: Sequence[Path], folder: Path) -> Path:
    """One file: the only part as it is, or several copied into `folder` end to end."""
    if len(parts) == 1:
        return parts[0]
    whole = folder / "whole.gguf"
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 24)
    return whole
