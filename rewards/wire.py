"""Frames between the runner and its workers: eight bytes of length, then the message.

The runner sends pickles, so that data columns arrive as they are. Workers answer in JSON: nothing that runs
in a worker can make the runner execute code.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!Q")


def pack_pickle(message: Any) -> bytes:
    """A frame for a worker."""
    return _frame(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))


def pack_json(message: dict[str, Any]) -> bytes:
    """A frame for the runner."""
    return _frame(json.dumps(message).encode())


def read_pickle(channel: socket.socket) -> Any:
    """Waits for the next frame. EOFError once the other side is gone."""
    return pickle.loads(_read(channel, _LENGTH.unpack(_read(channel, _LENGTH.size))[0]))


class JsonFrames:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that `data` completes."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            messages.append(json.loads(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return messages


def _frame(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


def _read(channel: socket.socket, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        piece = channel.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return data
