"""A worker process: loads the rules once, then scores what it is sent, until it is killed.

Started by rewards.process as `python -P -m rewards.worker FD PARENT NETWORK`. Without the network (NETWORK is
0) it is taken away before a rule's file is run.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from rewards import network, wire
from rewards.call import Request, call
from rewards.errors import RuleError
from rewards.load import Loaded, describe, load

OUT_OF_MEMORY = 77  # exit code
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def main() -> None:
    """Serves one runner over the inherited socket."""
    channel, parent, networked = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    if not networked:
        network.deny()
    die_with(parent)  # after it: a change of credentials would undo this
    prefer_to_be_killed()
    try:
        start = wire.read_pickle(channel)
        rules, loaded = _load(channel, start), mapped()
        channel.sendall(wire.pack_json({"kind": "ready"}))
        while True:
            indices, request = wire.read_pickle(channel)
            for index in indices:
                limit_memory(loaded + start["memory"][index])
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
    except RecursionError as error:  # a limit of the process, as memory is, and no fault of the rule
        message = {"kind": "broken", "error": describe(error)}
    except BaseException as error:
        message = {"kind": "raised", "error": describe(error, rule.file)}
    ended = time.monotonic()
    return message | {"at": ended, "seconds": ended - began}


def die_with(parent: int) -> None:
    """Has the kernel kill this process when the thread that started it ends, whatever it is doing."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it ended before we asked


def prefer_to_be_killed() -> None:
    """Where the machine runs out of memory, has the kernel kill this process first; no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def mapped() -> int:
    """Bytes of address space in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def limit_memory(limit: int) -> None:
    """Limits the address space to so many bytes; a lower limit of the system's stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )


def _load(channel: socket.socket, start: dict[str, Any]) -> dict[int, Loaded]:
    """Loads and announces the rules of this kind of worker, by their index, then warms them up."""
    rules = {}
    for index, (spec, options) in start["rules"].items():
        channel.sendall(wire.pack_json({"kind": "loading", "spec": spec}))
        rules[index] = load(spec, options, start["folder"])
    infos = [[index, dataclasses.asdict(rule.info)] for index, rule in rules.items()]
    channel.sendall(wire.pack_json({"kind": "loaded", "rules": infos}))
    for rule in rules.values():
        warm = getattr(rule.function, "warm", None)
        if warm is not None:
            warm()
    return rules


if __name__ == "__main__":
    main()
