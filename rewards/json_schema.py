"""JSON schema: 1 if the answer is JSON that a schema allows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rewards.completions import text_of
from rewards.errors import RuleError
from rewards.registry import rule

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

FENCED = re.compile(r"\s*```(?:json)?[^\S\n]*\n(.*?)\n?```\s*", re.DOTALL)
TAGGED = re.compile(r"<answer>((?:(?!<answer>).)*)</answer>\s*\Z", re.DOTALL)


def check_schema(*, schema: dict[str, Any] | None) -> None:
    """RuleError for a schema that is none."""
    if schema is not None:
        validator_of(json.dumps(schema))


@rule("json_schema", check=check_schema)
def json_schema(
    completions: Sequence[Any],
    json_schema: Sequence[Any] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    *,
    schema: dict[str, Any] | None = None,
    **columns: Any,
) -> list[float | None]:
    """1 where the answer is JSON valid under the schema, else 0; None where there is no schema.

        r_i = 1[answer(o_i) parses, and the schema allows it]

    The answer is what stands after `</think>`, out of an `<answer>` that ends it and out of a code fence
    around it; nothing else may stand there. JSON is strict: no NaN, no key twice. A schema may refer to its
    own parts and to no address. Logs for each completion the first `fault`.

    Source: JSON Schema 2020-12 (json-schema.org, 2022), by the jsonschema library; a schema's `$schema` may
    name an older draft.

    Args:
        completions: [G] strings or lists of messages.
        json_schema: [G] a row's own schema, a mapping or JSON text; goes before the option.
        schema: the schema of all other rows.

    Returns:
        [G] scores.
    """
    rows = [None] * len(completions) if json_schema is None else json_schema
    scores: list[float | None] = []
    faults: list[str | None] = []
    for completion, own in zip(completions, rows, strict=True):
        given = schema if own is None else own
        try:
            validator = None if given is None else validator_of(_as_text(given))
        except RuleError as error:
            raise ValueError(str(error)) from error  # one row's: no reason to stop a run
        faults.append("no schema" if validator is None else fault(text_of(completion), validator))
        scores.append(None if validator is None else float(faults[-1] is None))
    if log_extra is not None:
        log_extra("fault", faults)
    return scores


def fault(completion: str, validator: Validator) -> str | None:
    """What is wrong with a completion, in a few words; None where its answer is valid."""
    text = completion.rpartition("</think>")[2]
    tagged = TAGGED.search(text)
    if tagged and not text[: tagged.start()].strip():
        text = tagged[1]
    fenced = FENCED.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse, object_pairs_hook=_object)
        error = next(validator.iter_errors(value), None)
    except (ValueError, RecursionError) as error_:
        return f"not JSON: {error_}"[:200]
    return None if error is None else f"{error.json_path}: {error.message}"[:200]


@lru_cache(maxsize=256)
def validator_of(text: str) -> Validator:
    """The validator of a schema given as JSON text. It fetches nothing."""
    from jsonschema import Draft202012Validator, SchemaError, validators
    from referencing import Registry

    hint = "Write it as JSON Schema 2020-12 says"
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise RuleError(f"a schema is no JSON: {error}", "json_schema", hint) from error
    kind = validators.validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise RuleError(f"no schema: {error.json_path}: {error.message}", "json_schema", hint) from error
    return kind(schema, registry=Registry())


def _as_text(schema: Any) -> str:
    return schema if isinstance(schema, str) else json.dumps(schema)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
