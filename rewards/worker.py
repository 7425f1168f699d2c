"""A worker process: loads the rules once, then scores what it is sent, until it is killed.

Started by rewards.process as `python -P -m rewards.worker FD PARENT`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from rewards import wire
from rewards.call import Request, call
from rewards.errors import RuleError
from rewards.load import Loaded, describe, load

OUT_OF_MEMORY = 77  # exit code
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def main() -> None:
    """Serves one runner over the inherited socket."""
    channel, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    die_with(parent)
    try:
        start = wire.read_pickle(channel)
        rules = _load(channel, start)
        limit_memory(start["memory"])
        channel.sendall(wire.pack_json({"kind": "ready"}))
        while True:
            indices, request = wire.read_pickle(channel)
            for index in indices:
                channel.sendall(wire.pack_json(run_rule(rules[index], request) | {"rule": index}))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # what is left of the process cannot be trusted
    except RuleError as error:
        channel.sendall(wire.pack_json({"kind": "stop", "error": [error.what, error.where, error.instead]}))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the runner is gone


def run_rule(rule: Loaded, request: Request) -> dict[str, Any]:
    """The message that answers one rule's call. `at` is when it ended, on the clock all processes share."""
    began = time.monotonic()
    message: dict[str, Any]
    try:
        message = {"kind": "scores"} | dataclasses.asdict(call(rule, request))
    except (RuleError, MemoryError):
        raise
    except BaseException as error:
        message = {"kind": "raised", "error": describe(error)}
    ended = time.monotonic()
    return message | {"at": ended, "seconds": ended - began}


def die_with(parent: int) -> None:
    """Has the kernel kill this process when the thread that started it ends, whatever it is doing."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it ended before we asked


def limit_memory(extra: int) -> None:
    """Limits the address space to what is mapped now and `extra` bytes more; no core dumps."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = now + extra if hard == resource.RLIM_INFINITY else min(now + extra, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _load(channel: socket.socket, start: dict[str, Any]) -> list[Loaded]:
    """Loads and announces the rules, then warms them up."""
    rules = []
    for spec, options in start["rules"]:
        channel.sendall(wire.pack_json({"kind": "loading", "spec": spec}))
        rules.append(load(spec, options, start["folder"]))
    infos = [dataclasses.asdict(rule.info) for rule in rules]
    channel.sendall(wire.pack_json({"kind": "loaded", "rules": infos}))
    for rule in rules:
        warm = getattr(rule.function, "warm", None)
        if warm is not None:
            warm()
    return rules


if __name__ == "__main__":
    main()
