"""Every rollout of a step with its scores and advantage, as one Parquet file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo.types import Group

if TYPE_CHECKING:
    import pyarrow as pa


def write_samples(folder: Path, step: int, groups: Sequence[Group], names: Sequence[str]) -> Path:
    """Writes samples/step-000010.parquet, one row a completion, whole or not at all.

    Columns: step, prompt_id, sample, prompt, completion, answer, finish_reason, tokens (sampled), reward,
    advantage, mean_logprob (of the sampled tokens under the engine), version (oldest policy version of any
    sampled token), and for each rule score/<rule>, status/<rule>, extras/<rule> (JSON).

    Args:
        folder: the run folder.
        step: finished rollout steps.
        groups: [P], scored; rewards and advantages may be missing (null).
        names: [K] rule names, in the order of the scores.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(step, group, index, names) for group in groups for index in range(len(group.rollouts))]
    path = folder / "samples" / f"step-{step:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema(names)), partial, compression="zstd")
    os.replace(partial, path)
    return path


def _schema(names: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    fields = {"step": pa.int64(), "prompt_id": pa.string(), "sample": pa.int64()}
    fields |= dict.fromkeys(("prompt", "completion", "answer", "finish_reason"), pa.string())
    fields |= {"tokens": pa.int64()}
    fields |= dict.fromkeys(("reward", "advantage", "mean_logprob"), pa.float64())
    fields |= {"version": pa.int64()}
    for name in names:
        fields |= {
            f"score/{name}": pa.float64(),
            f"status/{name}": pa.string(),
            f"extras/{name}": pa.string(),
        }
    return pa.schema(list(fields.items()))


def _row(step: int, group: Group, index: int, names: Sequence[str]) -> dict[str, Any]:
    rollout, prompt = group.rollouts[index], group.prompt
    sampled = [position for position, drawn in enumerate(rollout.sampled) if drawn]
    row = {
        "step": step,
        "prompt_id": prompt.id,
        "sample": rollout.sample,
        "prompt": prompt.text,
        "completion": rollout.text,
        "answer": prompt.answer,
        "finish_reason": rollout.finish_reason,
        "tokens": len(sampled),
        "reward": group.rewards[index] if group.rewards else None,
        "advantage": group.advantages[index] if group.advantages else None,
        "mean_logprob": sum(rollout.logprobs[i] for i in sampled) / len(sampled) if sampled else None,
        "version": min((rollout.versions[i] for i in sampled), default=None),
    }
    for name, score in zip(names, group.scores[index], strict=True):
        row[f"score/{name}"], row[f"status/{name}"] = score.score, score.status
        row[f"extras/{name}"] = json.dumps(dict(score.extras), ensure_ascii=False, default=str)
    return row
