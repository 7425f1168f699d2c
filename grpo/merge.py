"""An adapter and its base to one whole checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo.errors import RunError, UserError
from grpo.recipe_checks import ADAPTER_CONFIG

if TYPE_CHECKING:
    from torch import Tensor

WITHIN = 1e-2  # nats between merged model and adapter, both in float32: rounding stays far below


def check_folders(checkpoint: Path, out: Path) -> None:
    """Refuses what cannot be merged, before anything heavy is imported.

    Raises:
        UserError: `checkpoint` is no PEFT adapter, or `out` exists.
    """
    if not (checkpoint / ADAPTER_CONFIG).is_file():
        what = f"holds no {ADAPTER_CONFIG}" if checkpoint.is_dir() else "is no folder"
        instead = "Give the folder of a PEFT adapter: a checkpoint of a run with model.adapter"
        raise UserError(f"{checkpoint} {what}", "CHECKPOINT", instead)
    if out.exists():
        raise UserError(f"{out} exists already", "OUT", "Name a folder that does not")


def merge_adapter(checkpoint: Path, out: Path, dtype: str | None = None) -> float:
    """Writes the merged checkpoint with its tokenizer, whole or not at all.

    Args:
        checkpoint: folder of a PEFT adapter, which names its base.
        out: folder to write.
        dtype: "float32" or "bfloat16"; the base's own when None. The sum is taken in float32.

    Returns:
        Largest difference between the log-probs of what is written and of base and adapter, in nats: rounding
        to `dtype`.

    Raises:
        UserError: base or adapter cannot be loaded.
        RunError: merged in float32, the model gives other log-probs.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    model = load_adapted(checkpoint)
    base = model.peft_config["default"].base_model_name_or_path
    written = getattr(torch, dtype) if dtype else AutoConfig.from_pretrained(base).dtype or torch.float32
    expected = sample_logprobs(model)
    merged = model.merge_and_unload(safe_merge=True)
    gap = float((sample_logprobs(merged) - expected).abs().max())
    if not gap <= WITHIN:
        raise RunError(f"the merged model's log-probs are {gap:.3g} from the adapter's", str(checkpoint))
    merged.to(written)
    gap = float((sample_logprobs(merged) - expected).abs().max())
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    merged.save_pretrained(partial)
    ours = (checkpoint / "tokenizer_config.json").is_file()
    AutoTokenizer.from_pretrained(checkpoint if ours else base).save_pretrained(partial)
    partial.rename(out)
    return gap


def load_adapted(checkpoint: Path) -> Any:
    """PEFT's model of an adapter on its base, float32.

    Raises:
        UserError: base or adapter cannot be loaded.
    """
    import torch
    from peft import PeftConfig, PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    failures = (OSError, ValueError, TypeError, RuntimeError, SafetensorError)
    base = "?"
    try:
        base = str(PeftConfig.from_pretrained(str(checkpoint)).base_model_name_or_path)
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    except failures as error:
        what = f"the base {base} could not be loaded ({str(error).strip().splitlines()[0]})"
        key = f"{checkpoint / ADAPTER_CONFIG} base_model_name_or_path"
        raise UserError(what, key, "Write there where the base is") from None
    try:
        return PeftModel.from_pretrained(model, str(checkpoint)).eval()
    except failures as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"the adapter could not be loaded ({first})", str(checkpoint), "Take another step"
        ) from None


def sample_logprobs(model: Any) -> Tensor:
    """Log-probs [T] of the tokens of a few random sequences, float32."""
    import torch

    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.randint(vocabulary, (4, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
    found: Tensor = logprobs.gather(2, ids[:, 1:, None]).flatten()
    return found
