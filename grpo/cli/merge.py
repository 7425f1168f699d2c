"""`grpo merge`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Dtype(StrEnum):
    """Types a merged checkpoint can be written in."""

    base = "base"
    float32 = "float32"
    bfloat16 = "bfloat16"


def merge(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a PEFT adapter: runs/…/checkpoints/step-N")],
    out: Annotated[Path, typer.Argument(help="folder to write; it must not exist")],
    dtype: Annotated[
        Dtype, typer.Option(help="type of the merged weights; base is that of the base's own")
    ] = Dtype.base,
) -> None:
    """Merges an adapter into its base: a whole checkpoint that transformers and vLLM load as it is.

    The merged model's log-probs are compared with those of base and adapter before anything is written.

    Example: [bold]grpo merge runs/demo/checkpoints/step-40 ./merged[/]
    """
    from grpo.merge import check_folders, merge_adapter
    from grpo.quiet import quieten

    check_folders(checkpoint, out)
    quieten()
    gap = merge_adapter(checkpoint, out, None if dtype is Dtype.base else dtype.value)
    typer.echo(f"{out}: log-probs differ from the adapter's by {gap:.2g} at most")
