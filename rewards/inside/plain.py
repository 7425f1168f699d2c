"""Messages between the judge and the program: plain data as JSON, everything else by number.

Plain are None, bool, int, float, complex, str, bytes, and list, tuple, set, frozenset and dict of these. What
is read from a message is built from these types alone, so that no method of the sender's ever runs here: an
object whose `__eq__` says yes to everything arrives as a number.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

LONGEST = 64 << 20  # bytes of a message
_LENGTH = struct.Struct("!Q")
_GROUPS: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def write(channel: BinaryIO, encoded: Any) -> None:
    """Sends what `encode` gave."""
    body = json.dumps(encoded).encode()
    channel.write(_LENGTH.pack(len(body)) + body)
    channel.flush()


def read(channel: BinaryIO) -> Any:
    """Waits for a message, to be decoded. EOFError once the other side is gone."""
    head = channel.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    length = _LENGTH.unpack(head)[0]
    if length > LONGEST:
        raise ValueError(f"a message of {length} bytes")
    body = channel.read(length)
    if len(body) < length:
        raise EOFError
    return json.loads(body)


def encode(value: Any, number_of: Callable[[Any], int]) -> Any:
    """What JSON can hold for a value; `number_of` gives a number for what is not plain, or raises.

    Subclasses of plain types become their plain type.
    """
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else {"int": hex(value)}  # JSON's readers stop at 4,300 digits
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [encode(item, number_of) for item in value]
    if isinstance(value, dict):
        pairs = value.items()
        return {"dict": [[encode(key, number_of), encode(item, number_of)] for key, item in pairs]}
    for name, group in _GROUPS.items():
        if isinstance(value, group):  # type: ignore[arg-type]  # they are types
            return {name: [encode(item, number_of) for item in value]}
    return {"object": number_of(value)}


def decode(value: Any, named: Callable[[int], Any]) -> Any:
    """The value that `encode` was given, in plain types; `named` gives what stands for a number."""
    if isinstance(value, list):
        return [decode(item, named) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "int":
        return int(inside, 16)
    if kind == "complex":
        return complex(*inside)
    if kind == "bytes":
        return bytes.fromhex(inside)
    if kind == "dict":
        return {decode(key, named): decode(item, named) for key, item in inside}
    if kind == "object":
        return named(inside)
    return _GROUPS[kind](decode(item, named) for item in inside)
