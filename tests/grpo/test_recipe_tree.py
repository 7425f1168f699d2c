"""YAML and overrides to plain values that know their lines."""

import math

import pytest
import yaml

from grpo.errors import UserError
from grpo.recipe_tree import RecipeDumper, Tree


def read(text: str) -> Tree:
    tree = Tree("r.yaml")
    tree.read(text)
    return tree


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-6", 1e-6),
        ("1.0e-6", 1e-6),
        ("5E3", 5000.0),
        ("1_000", 1000),
        ("010", 10),
        ("-3", -3),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("on", "on"),
        ("no", "no"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("'1e-6'", "1e-6"),
        ("~", None),
        ("1e", "1e"),
    ],
)
def test_scalars_are_what_they_look_like(written, value):
    got = read(f"x: {written}").value["x"]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "value", ["1e-6", "010", "yes", "true", "", "~", "a: b", "x\ny", 1e-6, 3, None, True]
)
def test_what_the_dumper_writes_is_read_back(value):
    text = yaml.dump({"x": value}, Dumper=RecipeDumper)
    assert read(text).value == {"x": value}


def test_where_gives_the_line_of_the_key_or_of_its_nearest_parent():
    tree = read("a:\n  b: 1\nc:\n  - d: 2\n  - e: 3\n")
    assert tree.where(("a", "b")) == "r.yaml:2 a.b"
    assert tree.where(("c", 1, "e")) == "r.yaml:5 c.1.e"
    assert tree.where(("a", "missing")) == "r.yaml:1 a.missing"
    assert tree.where(("other",)) == "r.yaml other"


def test_a_key_written_twice_names_both_lines():
    tree = read("a: 1\nb: 2\na: 3\n")
    assert [str(problem) for problem in tree.problems] == ["r.yaml:3 a: written twice, first in line 1"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x: 1\na: [1, 2\nb: 3\n", "r.yaml:2:4"),  # where the bracket was opened
        ('x: 1\na: "b\nc: d\n', "r.yaml:2:4"),
        ("a: b: c\n", "r.yaml:1:5"),
        ("a: 1\n\tb: 2\n", "r.yaml:2:1"),
    ],
)
def test_malformed_yaml_names_line_and_column(text, place):
    with pytest.raises(UserError, match="malformed YAML") as caught:
        read(text)
    assert caught.value.where.startswith(place)
    assert "\n" not in str(caught.value)


def test_a_file_in_two_documents_is_malformed():
    with pytest.raises(UserError, match="malformed YAML"):
        read("a: 1\n---\nb: 2\n")


def test_a_value_that_cannot_be_read_is_one_mistake():
    tree = read("a: {b: !what c}\n")
    tree.problem(("a", "b"), "should be text")
    tree.problem(("a",), "should hold more")
    assert [str(problem) for problem in tree.problems] == [
        "r.yaml:1 a.b: 'c' cannot be read as !what",
        "r.yaml:1 a: should hold more",
    ]


def test_an_anchor_that_contains_itself_is_refused():
    assert "contains itself" in str(read("a: &x [*x]").problems[0])


def test_overrides_replace_add_and_reach_into_lists():
    tree = read("a: {b: 1, c: 2}\nlist:\n  - {w: 1}\n")
    for override in ("a.b=1e-3", "list.0.w=2", "new.key=[x, y]", "a={z: 1}", "a.q="):
        tree.override(override)
    assert tree.value == {"a": {"z": 1, "q": None}, "list": [{"w": 2}], "new": {"key": ["x", "y"]}}
    assert tree.where(("a", "z")) == "command line: a.z"
    assert not tree.problems


def test_an_override_reaches_into_a_term_written_as_its_name():
    tree = read("algorithm: {kl: k3}\n")
    tree.override("algorithm.kl.coef=0.1")
    assert tree.value == {"algorithm": {"kl": {"name": "k3", "coef": 0.1}}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps", "'steps' is no override. Write key.path=value"),
        ("list.3.w=1", "command line: list.3.w: the list has items 0 to 0"),
        ("a.b.c=1", "command line: a.b.c: a.b is 1, no mapping"),
        ("a.b=[1", "malformed YAML"),
    ],
)
def test_overrides_that_cannot_be_placed(override, said):
    tree = read("a: {b: 1}\nlist: [{w: 1}]\n")
    tree.override(override)
    assert len(tree.problems) == 1
    assert said in str(tree.problems[0])
    assert tree.value == {"a": {"b": 1}, "list": [{"w": 1}]}
