"""Runs reward rules in separate processes that can be killed, a group at a time.

with Runner([RuleSpec("accuracy"), RuleSpec("my_rules.py:brevity", {"target": 200})]) as runner:
    runner.submit("a", ["2+2?"] * 2, ["<answer>4</answer>", "<answer>5</answer>"], {"answer": ["4", "4"]})
    for key, scores, metrics in runner.wait():
        print(key, scores)  # [G][K] of Score
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

from rewards.call import Request
from rewards.errors import RuleError
from rewards.options import GIVEN
from rewards.pool import Pending, Pool
from rewards.score import RuleInfo, RuleSpec, Score, Status

__all__ = ["Finished", "RuleInfo", "RuleSpec", "Runner", "Score", "Status"]

Finished = tuple[Hashable, list[list[Score]], dict[str, float]]


class Runner:
    """A pool of workers that have loaded the rules. Start it early: workers warm up in the background.

    Args:
        rules: the K rules.
        workers: processes; as many as there are cores, at most 4, when left out. As many again where some
            rules use the network and others do not.
        folder: where rule files are looked for besides the working directory.

    Wrong rules raise RuleError from `infos`, `ready` and `wait`. One thread submits and reads.
    """

    def __init__(
        self,
        rules: Sequence[RuleSpec],
        workers: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self._count = len(rules)
        self._outstanding = 0
        self._inbox: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Pending | Exception] = queue.SimpleQueue()
        self._infos: Future[list[RuleInfo]] = Future()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        size = workers or min(4, os.cpu_count() or 1)
        self._pool = Pool(rules, size, folder, self._infos.set_result, self._outbox.put)
        # The kernel kills workers when the thread that started them ends: this one lasts until `close`.
        self._thread = threading.Thread(target=self._run, name="reward-runner", daemon=True)
        self._thread.start()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def infos(self) -> list[RuleInfo]:
        """What the loaded rules say of themselves, in order. Waits until a worker has loaded them."""
        return self._infos.result()

    def submit(
        self,
        key: Hashable,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        columns: Mapping[str, Sequence[Any]],
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Mapping[str, Any] | None = None,
        rules: Sequence[int] | None = None,
    ) -> None:
        """Queues a group of G completions for scoring and returns at once.

        Args:
            key: comes back with the scores.
            prompts, completions: [G] strings or lists of messages.
            columns: data columns by name, [G] values each; `answer` is one of them.
            completion_ids: [G] token ids.
            trainer_state: what rules see as attributes of `trainer_state` (`global_step`, …).
            rules: indices of the rules to run; all when left out.
        """
        for name in GIVEN:
            if name in columns:
                raise RuleError(
                    f"column {name!r} has the name of a keyword that rules are given", "data", "Rename it"
                )
        request = Request(prompts, completions, columns, completion_ids, trainer_state)
        chosen = tuple(range(self._count)) if rules is None else tuple(rules)
        cells: list[list[Score | None]] = [[None] * len(chosen) for _ in completions]
        group = Pending(key, request, chosen, cells, missing=len(completions) * len(chosen))
        self._outstanding += 1
        if group.missing == 0:
            self._outbox.put(group)
            return
        self._inbox.put(group)
        self._wake()

    def ready(self) -> Iterator[Finished]:
        """Groups that are finished by now: (key, scores [G][K], means of what rules gave to log_metric)."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._take(self._outbox.get_nowait())

    def wait(self) -> Iterator[Finished]:
        """Groups as they finish, until none is outstanding."""
        while self._outstanding:
            yield self._take(self._outbox.get())

    def close(self) -> None:
        """Kills the workers. Safe to call twice."""
        if self._thread.is_alive():
            self._inbox.put(None)
            self._wake()
            self._thread.join()
        for descriptor in (self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._wake_read = self._wake_write = -1

    def _take(self, item: Pending | Exception) -> Finished:
        if isinstance(item, Exception):
            self._outbox.put(item)  # every later call fails the same way
            raise item
        self._outstanding -= 1
        scores = [[score for score in row if score is not None] for row in item.cells]
        return item.key, scores, {name: sum(v) / len(v) for name, v in item.metrics.items()}

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b".")

    def _run(self) -> None:
        ended: Exception = RuntimeError("the reward runner is closed")
        try:
            self._pool.run(self._wake_read, self._news)
        except Exception as error:
            ended = error
        if not self._infos.done():
            self._infos.set_exception(ended)
        self._outbox.put(ended)

    def _news(self) -> list[Pending] | None:
        """Everything submitted since the last look; None once the runner is closed."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 1 << 16)
        groups = []
        with contextlib.suppress(queue.Empty):
            while True:
                group = self._inbox.get_nowait()
                if group is None:
                    return None
                groups.append(group)
        return groups
