"""YAML text and command-line overrides to one tree of plain values that knows where each came from.

Scalars follow YAML 1.2, where they are what they look like: `1e-6` and `1_000` are numbers, `on`, `yes` and
`2024-01-01` are text, `010` is ten.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from grpo.errors import UserError

Key = tuple[str | int, ...]

_INT = re.compile(r"^[-+]?[0-9](?:_?[0-9])*$")
_SCALARS = (
    ("bool", re.compile(r"^(?:true|false|True|False)$"), "tfTF"),
    ("int", _INT, "-+0123456789"),
    (
        "float",
        re.compile(
            r"^(?:[-+]?(?:[0-9](?:_?[0-9])*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN))$"
        ),
        "-+.0123456789",
    ),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (pyyaml's own way)


class RecipeDumper(yaml.SafeDumper):
    """Writes scalars so that this module reads them back as they were."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
    RecipeDumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


class Tree:
    """Plain values (dict, list, scalar) and, by key path, the line or the command line each came from."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.value: Any = {}
        self.problems: list[UserError] = []
        self._origin: dict[Key, str] = {}
        self._unread: set[Key] = set()

    def where(self, key: Key) -> str:
        """`file.yaml:12 rollout.group_size`, with the line of the nearest parent where the key has none.

        A key that only overrides have made has the line of what they put inside it.
        """
        parents = [key[:length] for length in range(len(key), 0, -1)]
        inside = [other for other in self._origin if key and other[: len(key)] == key]
        for known in parents + inside:
            if known in self._origin:
                return f"{self._origin[known]} {dotted(key)}"
        return f"{self.label} {dotted(key)}" if key else self.label

    def problem(self, key: Key, what: str, instead: str = "") -> None:
        """Notes one mistake; all are reported together. A value that could not be read has one already."""
        if key in self._unread:
            return
        self.problems.append(UserError(what, self.where(key), instead))

    def in_order(self) -> list[UserError]:
        """The mistakes by line, those without one last."""

        def line(problem: UserError) -> float:
            found = re.match(r":(\d+)", problem.where.removeprefix(self.label))
            return int(found[1]) if found else float("inf")

        return sorted(self.problems, key=line)

    def read(self, text: str) -> None:
        """Fills the tree from YAML text.

        Raises:
            UserError: it is no YAML.
        """
        node = _compose(text, self.label)
        self.value = {} if node is None else self._plain(node, (), ())

    def _plain(self, node: yaml.Node, key: Key, parents: tuple[int, ...]) -> Any:
        if id(node) in parents:
            self.problem(key, "an anchor that contains itself")
            return None
        parents = (*parents, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, parents)
        if isinstance(node, yaml.SequenceNode):
            found = []
            for index, item in enumerate(node.value):
                self._origin[(*key, index)] = self._line(item)
                found.append(self._plain(item, (*key, index), parents))
            return found
        try:
            return _scalar(node)
        except (yaml.YAMLError, ValueError):
            self.problem(key, f"{node.value!r} cannot be read as {node.tag.rpartition(':')[2]}")
            self._unread.add(key)
            return None

    def _mapping(self, node: yaml.MappingNode, key: Key, parents: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name_node, item in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                self.problem(key, f"{self._line(name_node)} holds a key that is no plain word")
                continue
            name = str(name_node.value)
            if name in found:
                first = self._origin[(*key, name)].rpartition(":")[2]
                self._origin[(*key, name)] = self._line(name_node)
                self.problem((*key, name), f"written twice, first in line {first}")
                continue
            self._origin[(*key, name)] = self._line(name_node)
            found[name] = self._plain(item, (*key, name), parents)
        return found

    def _line(self, node: yaml.Node) -> str:
        return f"{self.label}:{node.start_mark.line + 1}"

    def override(self, text: str) -> None:
        """Applies one `key.path=value`; items of a list go by index, the value is YAML."""
        path, equals, written = text.partition("=")
        if not equals or not path.strip():
            self.problems.append(
                UserError(f"{text!r} is no override", "command line", "Write key.path=value")
            )
            return
        key: Key = tuple(int(part) if _INT.match(part) else part for part in path.strip().split("."))
        try:
            node = _compose(written, f"command line: {path}")
        except UserError as error:
            self.problems.append(error)
            return
        if self._place(key, None if node is None else node):
            for old in [other for other in self._origin if other[: len(key)] == key]:
                del self._origin[old]
            self._origin[key] = "command line:"

    def _place(self, key: Key, node: yaml.Node | None) -> bool:
        at: Any = self.value
        for depth, part in enumerate(key):
            last = depth == len(key) - 1
            if isinstance(at, list):
                if not isinstance(part, int) or not 0 <= part < len(at):
                    has = f"has items 0 to {len(at) - 1}" if at else "is empty"
                    self.problems.append(UserError(f"the list {has}", f"command line: {dotted(key)}"))
                    return False
            elif isinstance(at, dict):
                part = str(part)
                if not last and at.get(part) is None:
                    at[part] = {}
            else:
                self.problems.append(
                    UserError(f"{dotted(key[:depth])} is {at!r}, no mapping", f"command line: {dotted(key)}")
                )
                return False
            if last:
                at[part] = None if node is None else self._plain(node, key, ())
            elif isinstance(at, dict) and depth and key[0] == "algorithm" and isinstance(at[part], str):
                at[part] = {"name": at[part]}  # `kl: k3` is short for `kl: {name: k3}`
            at = at[part]
        return True


def dotted(key: Sequence[str | int]) -> str:
    """`rewards.0.weight`."""
    return ".".join(str(part) for part in key)


def read_text(path: Path) -> str:
    """The text of a recipe file.

    Raises:
        UserError: it cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not a text file ({error.reason} at byte {error.start})", str(path)) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", str(path)) from None


def _compose(text: str, label: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark, said = error.problem_mark or error.context_mark, [error.context, error.problem]
        if mark and error.context_mark and re.search("flow|quoted", error.context or ""):
            said.append(f"(line {mark.line + 1})")
            mark = error.context_mark  # where the bracket or quote was opened
        at = f"{label}:{mark.line + 1}:{mark.column + 1}" if mark else label
        raise UserError(f"malformed YAML: {' '.join(filter(None, said))}", at) from None
    except yaml.YAMLError as error:
        raise UserError(f"malformed YAML: {' '.join(str(error).split())}", label) from None


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    kind = node.tag.rpartition(":")[2]
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(
            text.replace(".inf", "inf").replace(".Inf", "inf").replace(".nan", "nan").replace(".NaN", "nan")
        )
    if kind == "null":
        return None
    if kind == "str":
        return text
    raise ValueError(node.tag)
