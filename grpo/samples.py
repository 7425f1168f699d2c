"""Every rollout of a step with its scores and advantage, as one Parquet file; and reading them again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo.errors import UserError
from grpo.pieces import Pieces, logprobs_of
from grpo.types import Group

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def write_samples(
    folder: Path, step: int, groups: Sequence[Group], names: Sequence[str], pieces: Pieces | None = None
) -> Path:
    """Writes samples/step-000010.parquet, one row a completion, whole or not at all.

    Columns: step, prompt_id, sample (the three name a completion), prompt (as rendered), question (the
    prompt as the data has it, JSON), columns (the data's other columns, JSON), completion, token_ids, pieces
    (text of each token; null without `pieces`), logprobs (of each token under the engine; null where it was
    not sampled), answer, finish_reason, tokens (sampled), reward, advantage, mean_logprob (of the sampled
    tokens), version (oldest policy version of any sampled token), and for each rule score/<rule>,
    status/<rule>, extras/<rule> (JSON).

    Args:
        folder: the run folder.
        step: finished rollout steps.
        groups: [P], scored; rewards and advantages may be missing (null).
        names: [K] rule names, in the order of the scores.
        pieces: splits a rollout into the texts of its tokens.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        _row(step, group, index, names, pieces) for group in groups for index in range(len(group.rollouts))
    ]
    path = folder / "samples" / f"step-{step:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema(names)), partial, compression="zstd")
    os.replace(partial, path)
    return path


def sample_files(folder: Path) -> list[Path]:
    """The sample files of a run folder, by step.

    Raises:
        UserError: there are none.
    """
    files = sorted((folder / "samples").glob("step-*.parquet"))
    if not files:
        raise UserError("no samples of a run", str(folder), "Name the folder of a run, as in output.folder")
    return files


def rule_names(file: Path) -> list[str]:
    """Names of the rules whose scores a sample file holds, in the recipe's order."""
    import pyarrow.parquet as pq

    names = list(pq.read_schema(file).names)
    return [name.removeprefix("score/") for name in names if name.startswith("score/")]


def read_samples(file: Path, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows of one sample file; only some columns where they are named.

    Raises:
        UserError: the file is no sample file, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        there = pq.read_schema(file).names
        missing = [name for name in columns or ("step", "prompt_id", "sample") if name not in there]
        if missing:
            raise UserError(
                f"has no column {missing[0]!r}", str(file), "It was written by another version of the toolkit"
            )
        table = pq.read_table(file, columns=None if columns is None else list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"cannot be read: {str(error).splitlines()[0]}", str(file)) from error
    rows: list[Row] = table.to_pylist()
    return rows


def groups_of(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows of one step by prompt, each group's in their order, groups in order of their first row."""
    by_prompt: dict[str, list[Row]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    yield from by_prompt.values()


def sample_id(row: Row) -> str:
    """What names a completion of a run: `step/prompt_id/sample`, the first three columns of its row."""
    return f"{row['step']}/{row['prompt_id']}/{row['sample']}"


def _schema(names: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    fields = {"step": pa.int64(), "prompt_id": pa.string(), "sample": pa.int64()}
    fields |= dict.fromkeys(("prompt", "question", "columns", "completion"), pa.string())
    fields |= {"token_ids": pa.list_(pa.int32()), "pieces": pa.list_(pa.string())}
    fields |= {"logprobs": pa.list_(pa.float32())}
    fields |= dict.fromkeys(("answer", "finish_reason"), pa.string())
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


def _row(step: int, group: Group, index: int, names: Sequence[str], pieces: Pieces | None) -> dict[str, Any]:
    rollout, prompt = group.rollouts[index], group.prompt
    sampled = [position for position, drawn in enumerate(rollout.sampled) if drawn]
    row = {
        "step": step,
        "prompt_id": prompt.id,
        "sample": rollout.sample,
        "prompt": prompt.text,
        "question": _json(prompt.prompt),
        "columns": _json(dict(prompt.columns)),
        "completion": rollout.text,
        "token_ids": list(rollout.token_ids),
        "pieces": pieces(rollout) if pieces else None,
        "logprobs": logprobs_of(rollout),
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
        row[f"extras/{name}"] = _json(dict(score.extras))
    return row


def _json(value: Any) -> str:
    """The value as JSON: what JSON cannot hold as text, lone surrogates (which Parquet refuses) escaped."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()
