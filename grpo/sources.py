"""Where rows come from: files, sets, generated tasks, the hub, Python functions."""

from __future__ import annotations

import csv
import importlib.util
import inspect
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eval.sets import registry
from grpo import hub
from grpo.errors import RunError, UserError
from grpo.nearest import suggest
from grpo.terms import options_of

Row = dict[str, Any]

TASKS = "reasoning_gym"
FUNCTION = re.compile(r"^(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)$")
_FILE = re.compile(r"\.(jsonl|parquet|csv)$")


@dataclass(frozen=True)
class Source:
    """A parsed `data.train` or item of `eval.sets`."""

    kind: Literal["function", "file", "task", "set", "hub"]
    name: str  # function, set, task or hub id; empty for a file
    split: str = "train"
    path: Path | None = None  # of a file or function


def parse_source(text: str, folder: Path = Path()) -> Source:
    """Tells what kind of source `text` names. Reads no rows and imports nothing heavy.

    Args:
        text: `rows.jsonl`, `my_data.py:rows`, `gsm8k:test`, `reasoning_gym:chain_sum` or `org/name:split`.
        folder: where relative paths are looked for; then the working directory.

    Raises:
        UserError: no such file, set or split.
    """
    function = FUNCTION.match(text)
    if function:
        return Source("function", function["name"], path=find_file(function["file"], folder))
    if _FILE.search(text):
        return Source("file", "", path=find_file(text, folder))
    name, _, split = text.partition(":")
    if name == TASKS:
        if not split:
            raise UserError("no task is named", text, f"Write {TASKS}:chain_sum")
        return Source("task", split)
    if name in registry.names():
        splits = registry.get(name).splits
        if split and split not in splits:
            raise UserError(f"{name} has no split {split!r}", "", suggest(split, splits, "Splits"))
        return Source("set", name, split or splits[0])
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return Source("hub", name, split or "train")
    near = suggest(name, registry.names(), "Sets")
    near += "" if near.endswith("?") else "."
    raise UserError(
        f"no data set {name!r}", "", f"{near} Files end in .jsonl, .parquet or .csv; hub ids are org/name"
    )


def find_file(name: str, folder: Path = Path()) -> Path:
    """The file `name` in `folder`, else in the working directory. Raises UserError where it is in neither."""
    for path in (folder / name, Path(name)):
        if path.is_file():
            return path
    raise UserError(f"no such file {name!r}", "", "Relative paths start at the working directory")


def read_rows(source: Source, options: Mapping[str, Any], seed: int) -> list[Row]:
    """All rows of a source, as it holds them.

    Args:
        source: from `parse_source`.
        options: `data.options`, the arguments of whatever makes or fetches the rows.
        seed: seed of a reasoning-gym task whose options give none.

    Raises:
        UserError: malformed data or options, with file and line.
        RunError: the hub could not be reached.
    """
    if source.kind == "function":
        assert source.path is not None
        made = _called(load_function(source.path, source.name), options, f"{source.path}:{source.name}")
        return _checked_rows(made, f"{source.path}:{source.name}")
    if source.kind == "file":
        assert source.path is not None
        return read_file(source.path)
    if source.kind == "task":
        return _task_rows(source.name, options, seed)
    if source.kind == "set":
        return _set_rows(source, options)
    return _hub_rows(source.name, source.split, options)


def read_file(path: Path) -> list[Row]:
    """Rows of a JSONL, Parquet or CSV file (CSV: all values text). Raises UserError with the faulty line."""
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        try:
            return list(parquet.read_table(path).to_pylist())
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f"not a Parquet file: {_first_line(error)}", str(path)) from None
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return _csv_rows(path, lines) if path.suffix == ".csv" else _jsonl_rows(path, lines)
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text ({error.reason} at byte {error.start})", str(path)) from None


def _jsonl_rows(path: Path, lines: Iterable[str]) -> list[Row]:
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"malformed JSON: {error.msg} (column {error.colno})", f"{path}:{number}"
            ) from None
        if not isinstance(row, dict):
            raise UserError("not a JSON object", f"{path}:{number}", 'Write {"prompt": …, "answer": …}')
        rows.append(row)
    return rows


def _csv_rows(path: Path, lines: Iterable[str]) -> list[Row]:
    rows = []
    reader = csv.DictReader(lines)
    for row in reader:
        if None in row or None in row.values():
            raise UserError(
                f"not {len(reader.fieldnames or ())} values as in the header", f"{path}:{reader.line_num}"
            )
        rows.append(dict(row))
    return rows


def load_function(path: Path, name: str) -> Callable[..., Any]:
    """The function `name` of the Python file `path`.

    Raises:
        UserError: the file does not import (with the exception and its line), or has no such function.
    """
    spec = importlib.util.spec_from_file_location(f"grpo_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(error, path)
        raise UserError(
            f"does not import: {type(error).__name__}: {_first_line(error)}", f"{path}:{line}"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UserError(f"no function {name!r}", str(path), suggest(name, known, "Functions"))
    return found  # type: ignore[no-any-return]


def _line_in(error: BaseException, path: Path) -> int:
    line, trace = 1, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path.absolute()):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _called(function: Callable[..., Any], options: Mapping[str, Any], where: str) -> Any:
    try:
        inspect.signature(function).bind(**options)
    except TypeError as error:
        raise UserError(f"data.options do not fit: {error}", where) from None
    try:
        made = function(**options)
        return list(made) if isinstance(made, Iterable) else made
    except Exception as error:
        raise UserError(f"raised {type(error).__name__}: {_first_line(error)}", where) from error


def _checked_rows(made: Any, where: str) -> list[Row]:
    if not isinstance(made, list) or not all(isinstance(row, Mapping) for row in made):
        raise UserError("does not give rows", where, "Return a list of {prompt: …, answer: …} mappings")
    return [dict(row) for row in made]


def _task_rows(task: str, options: Mapping[str, Any], seed: int) -> list[Row]:
    try:
        with warnings.catch_warnings():  # of a library that it imports, about that one's own syntax
            warnings.simplefilter("ignore", SyntaxWarning)
            import reasoning_gym
            from reasoning_gym.factory import DATASETS
    except ImportError:
        raise UserError(
            "reasoning-gym is not installed", f"{TASKS}:{task}", "Run: pip install 'grpo-toolkit[tasks]'"
        ) from None
    if task not in DATASETS:
        raise UserError(f"no task {task!r}", TASKS, suggest(task, sorted(DATASETS), "Tasks"))
    try:
        options = {"seed": seed, **options}
        entries = list(reasoning_gym.create_dataset(task, **options))
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"data.options do not fit: {_first_line(error)}", f"{TASKS}:{task}") from None
    made = {
        "task": task,
        "task_options": dict(options),
    }  # what the task's own scorer (rule `gym`) is made with
    return [
        {"prompt": entry["question"], "answer": entry["answer"], "metadata": entry["metadata"], **made}
        for entry in entries
    ]


def _set_rows(source: Source, options: Mapping[str, Any]) -> list[Row]:
    found = registry.get(source.name)
    label = f"{source.name}:{source.split}"
    if found.generate:
        unknown = [key for key in options if key not in options_of(found.generate)]
        if unknown:
            hint = suggest(unknown[0], options_of(found.generate), "Options")
            raise UserError(f"unknown option {unknown[0]!r}", label, hint)
        try:
            return list(found.generate(source.split, **options))
        except ValueError as error:
            raise UserError(str(error), label) from None
    local = _local_file(found.files.get(source.split))
    if local:
        rows = read_file(local)
    else:
        assert found.hub is not None
        fixed = {"name": found.config} if found.config else {}
        rows = _hub_rows(found.hub, source.split, {**fixed, **options})
    expected = found.rows.get(source.split)
    if expected is not None and len(rows) != expected:
        raise UserError(
            f"has {len(rows)} rows, the published set {expected}",
            str(local or label),
            "Name a part of a set by its own path",
        )
    return rows


def _local_file(name: str | None) -> Path | None:
    folder = os.environ.get("GRPO_DATA")
    path = Path(folder) / name if folder and name else None
    return path if path and path.is_file() else None


def _hub_rows(name: str, split: str, options: Mapping[str, Any]) -> list[Row]:
    import datasets

    silent = hub.silence()
    try:
        return list(datasets.load_dataset(name, split=split, **options))
    except (ValueError, TypeError, FileNotFoundError) as error:  # no such set, split or option
        raise UserError(_first_line(error), f"{name}:{split}") from None
    except Exception as error:  # the hub's client has a dozen error types for "not there" and "no network"
        why = silent or f"{type(error).__name__}: {_first_line(error)}"
        raise RunError(
            f"could not be loaded: {why}",
            f"{name}:{split}",
            "Check the id and the network, or give a local file (sets: in the folder GRPO_DATA)",
        ) from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
