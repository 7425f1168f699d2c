"""Answers in JSON against a schema."""

from __future__ import annotations

import json

import pytest

from rewards.errors import RuleError
from rewards.json_schema import json_schema
from rewards.load import load

SCHEMA = {
    "type": "object",
    "required": ["city"],
    "properties": {"city": {"type": "string"}, "year": {"type": "integer"}},
    "additionalProperties": False,
}
GOOD = '{"city": "Paris", "year": 1900}'


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (GOOD, 1),
        (f"<answer>{GOOD}</answer>", 1),
        (f"<think>{{</think>\n{GOOD}\n", 1),
        (f"<think>a</think><answer>\n```json\n{GOOD}\n```\n</answer>", 1),
        (f"```\n{GOOD}\n```", 1),
        ('{"city": "Paris", "year": "1900"}', 0),
        ('{"year": 1900}', 0),
        ('{"city": "Paris", "more": 1}', 0),
        (f"Here it is: {GOOD}", 0),
        (f"x <answer>{GOOD}</answer>", 0),
        (f"<answer>{GOOD}</answer> <answer>{GOOD}</answer>", 0),
        ("{'city': 'Paris'}", 0),
        ('{"city": "a", "city": "b"}', 0),
        ('{"city": "Paris", "year": NaN}', 0),
        (GOOD[:-1], 0),
        ("", 0),
        ("[" * 100_000, 0),
        ("9" * 100_000, 0),
    ],
)
def test_scores(text, score):
    assert json_schema([text], schema=SCHEMA) == [score]


def test_a_rows_own_schema_goes_first_and_the_fault_is_logged():
    logged = {}
    scores = json_schema(
        [[{"role": "assistant", "content": "3"}]] * 4,
        json_schema=[{"type": "integer"}, '{"type": "string"}', None, True],
        log_extra=lambda name, values: logged.update({name: values}),
        schema={"minimum": 5},
    )
    assert scores == [1, 0, 0, 1]
    assert logged["fault"][0] is None
    assert "is not of type 'string'" in logged["fault"][1]
    assert "less than the minimum" in logged["fault"][2]
    assert json_schema(["3"]) == [None]


def test_a_schema_may_refer_to_itself_and_fetches_nothing(monkeypatch):
    import socket

    tree = {"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}
    assert json_schema(["[[], [[]]]", "[1]"], schema=tree) == [1, 0]
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: asked.append(a) or [])
    with pytest.raises(Exception, match="Unresolvable"):
        json_schema(["1"], schema={"$ref": "http://example.invalid/schema.json"})
    assert asked == []


def test_an_older_draft_is_read_as_such():
    # `dependencies` was taken out of 2019-09
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}
    assert json_schema(['{"a": 1}'], schema=old) == [0]
    assert json_schema(['{"a": 1}'], schema={"dependencies": {"a": ["b"]}}) == [1]


def test_a_wrong_schema_is_an_error_where_the_rule_is_loaded_and_of_a_row_alone_later():
    with pytest.raises(RuleError, match=r"json_schema: no schema: \$\.type: 'text' is not valid"):
        load("json_schema", {"schema": {"type": "text"}})
    for schema in ({"type": "text"}, "{"):
        with pytest.raises(ValueError, match="json_schema: "):
            json_schema(["3"], json_schema=[schema])
    assert json.loads(GOOD)  # the text that the other tests rely on
