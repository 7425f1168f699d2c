"""The pool of workers: hands out jobs, enforces limits, replaces what hangs or dies.

    submit ─► queue ─► idle worker ─► a message a rule ─► cells of the group ─► finished groups
                ▲                          │
                ├── one job a completion ◄─┤ (overrun, crash or exception on several completions)
                └── a harmless answer ◄────┘ (one completion alone failed: is the gold at fault?)

Rules that may use the network have workers and a queue of their own.

All of it runs in one thread, `Pool.run`, which alone owns this state. Times are CLOCK_MONOTONIC, which
workers share: a rule's limit counts from the moment the worker ended the rule before it.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rewards import wire
from rewards.call import Request
from rewards.errors import RuleError
from rewards.process import WorkerProcess
from rewards.score import RuleInfo, RuleSpec, Score, Status

GIB = 1 << 30
FAILED: dict[str, Status] = {"raised": "error", "broken": "crash"}  # what a worker says of a failed call
LOAD_SECONDS = 120.0  # a rule may import much; one that takes longer than this is taken to hang
LOAD_TRIES = 3  # of a worker that replaces another: where the first have loaded, the rule is not to blame
# An answer that reaches whatever a grader does with its gold: no text, and no number that strings can tell.
HARMLESS = r"<answer>\boxed{\sqrt{7}}</answer>"


@dataclass
class Pending:
    """A group that is being scored; `cells` [G][K] fill up in any order."""

    key: Hashable
    request: Request
    rules: tuple[int, ...]
    cells: list[list[Score | None]]
    metrics: dict[str, list[float]] = field(default_factory=dict)
    missing: int = 0


@dataclass(frozen=True)
class Job:
    """Some rules of a group, to be run one after the other on some of its completions."""

    group: Pending
    rules: tuple[int, ...]
    rows: tuple[int, ...]
    failed: Score | None = None  # what its completions came to; in their place goes a harmless answer

    def request(self) -> Request:
        """What the worker is given."""
        asked = self.group.request.rows(self.rows)
        if self.failed is None:
            return asked
        texts = [
            HARMLESS if isinstance(text, str) else [{"role": "assistant", "content": HARMLESS}]
            for text in asked.completions
        ]
        return replace(asked, completions=texts)


@dataclass
class Seat:
    """A place in the pool and the worker that fills it now."""

    network: bool
    worker: WorkerProcess
    state: Literal["loading", "idle", "busy"]
    since: float  # when the rule at hand, or loading, began
    job: Job | None = None
    done: int = 0  # rules of the job that are finished
    loading: str = ""  # the rule that is being loaded
    deaths: int = 0  # workers in a row that ended before they had loaded


class Pool:
    """Scores groups on `size` workers of each kind. `on_loaded` and `on_group` are told what comes of it."""

    def __init__(
        self,
        rules: Sequence[RuleSpec],
        size: int,
        folder: Path | None,
        on_loaded: Callable[[list[RuleInfo]], None],
        on_group: Callable[[Pending], None],
    ) -> None:
        self._rules, self._size, self._folder = rules, size, folder
        self._on_loaded, self._on_group = on_loaded, on_group
        self._infos: dict[int, RuleInfo] = {}
        kinds = sorted({rule.network for rule in rules})
        self._queues: dict[bool, deque[Job]] = {network: deque() for network in kinds}
        self._seats: list[Seat] = []
        self._selector = selectors.DefaultSelector()

    def run(self, wake: int, inbox: Callable[[], list[Pending] | None]) -> None:
        """Works until `inbox` returns None. `wake` is a file descriptor that is readable when it has news."""
        self._selector.register(wake, selectors.EVENT_READ, None)
        try:
            self._seats = [self._hire(network) for network in self._queues for _ in range(self._size)]
            while True:
                for key, _ in self._selector.select(self._patience()):
                    if key.data is not None:
                        self._hear(key.data)
                        continue
                    groups = inbox()
                    if groups is None:
                        return
                    for group in groups:
                        self._enqueue(group)
                self._enforce_limits()
                self._hand_out()
        finally:
            for seat in self._seats:
                seat.worker.kill()
            self._selector.close()

    def _enqueue(self, group: Pending) -> None:
        """Queues a new group: a job for each kind of worker that its rules need."""
        for network, queue in self._queues.items():
            rules = tuple(rule for rule in group.rules if self._rules[rule].network == network)
            if rules:
                queue.append(Job(group, rules, tuple(range(len(group.cells)))))

    def _hire(self, network: bool, seat: Seat | None = None) -> Seat:
        """Fills a new seat, or an old one again."""
        mine = {index: rule for index, rule in enumerate(self._rules) if rule.network == network}
        start = {
            "rules": {index: (rule.spec, dict(rule.options)) for index, rule in mine.items()},
            "memory": {index: int(rule.memory * GIB) for index, rule in mine.items()},
            "folder": self._folder,
        }
        worker, now = WorkerProcess(start, network), time.monotonic()
        if seat is None:
            seat = Seat(network, worker, "loading", now)
        else:
            seat.worker, seat.state, seat.since, seat.job, seat.done = worker, "loading", now, None, 0
        self._selector.register(worker.socket, selectors.EVENT_READ, seat)
        return seat

    def _patience(self) -> float | None:
        """Seconds until the next limit is reached."""
        ends = [seat.since + self._limit(seat) for seat in self._seats if seat.state != "idle"]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _limit(self, seat: Seat) -> float:
        return LOAD_SECONDS if seat.job is None else self._rules[seat.job.rules[seat.done]].timeout

    def _hear(self, seat: Seat) -> None:
        messages = seat.worker.receive()
        if messages is None:
            self._replace(seat, "crash", "")
            return
        for message in messages:
            self._handle(seat, message)

    def _handle(self, seat: Seat, message: dict[str, Any]) -> None:
        kind = message["kind"]
        if kind == "stop":
            raise RuleError(*message["error"])
        if kind == "loading":
            seat.loading = message["spec"]
        elif kind == "loaded":
            already = len(self._infos)
            self._infos |= {index: RuleInfo(**info) for index, info in message["rules"]}
            if already < len(self._infos) == len(self._rules):
                self._on_loaded([self._infos[index] for index in range(len(self._rules))])
        elif kind == "ready":
            seat.state, seat.deaths = "idle", 0
        else:
            self._take(seat, message)

    def _take(self, seat: Seat, message: dict[str, Any]) -> None:
        """Takes one rule's answer from a busy worker."""
        job, rule = seat.job, message["rule"]
        assert job is not None  # only a job is answered
        seat.done, seat.since = seat.done + 1, message["at"]
        if seat.done == len(job.rules):
            seat.state, seat.job, seat.done = "idle", None, 0
        if message["kind"] in FAILED:
            self._failed(job, rule, FAILED[message["kind"]], message["error"], message["seconds"])
            return
        if job.failed is not None:  # the harmless answer passed: the completion was at fault
            blamed: Status = "crash" if job.failed.status == "error" else job.failed.status
            self._settle(job, rule, replace(job.failed, status=blamed))
            return
        seconds = message["seconds"] / len(job.rows)
        for row, score, extras in zip(job.rows, message["scores"], message["extras"], strict=True):
            self._fill(job.group, row, rule, Score(score, "none" if score is None else "ok", seconds, extras))
        for name, value in message["metrics"].items():
            job.group.metrics.setdefault(f"{self._infos[rule].name}/{name}", []).append(value)

    def _failed(self, job: Job, rule: int, status: Status, error: str, seconds: float) -> None:
        """Scores a failed call, or finds out first what is at fault.

        Several completions are tried one by one. Where one hung or crashed a rule that grades answers, or
        made a rule of ours raise, a harmless answer is tried in its place: if that fails too, the gold is at
        fault, or the rule. What another rule raises is its own affair.
        """
        info, queue = self._infos[rule], self._queues[self._rules[rule].network]
        if job.failed is not None:
            words = (
                f"{job.failed.extras['error']}; so it goes with any answer: the gold or the rule is at fault"
            )
            self._settle(job, rule, replace(job.failed, score=None, extras={"error": words}))
        elif len(job.rows) > 1 and not info.whole_group:
            queue.extendleft(Job(job.group, (rule,), (row,)) for row in reversed(job.rows))
        elif status == "error" and not info.ours:
            self._settle(job, rule, Score(None, status, seconds / len(job.rows), {"error": error}))
        else:
            score = Score(0.0, status, seconds / len(job.rows), {"error": error})
            if status == "error" or info.grades_answer:
                queue.appendleft(Job(job.group, (rule,), job.rows, failed=score))
            else:
                self._settle(job, rule, score)

    def _settle(self, job: Job, rule: int, score: Score) -> None:
        """Gives every completion of a job the same score."""
        for row in job.rows:
            self._fill(job.group, row, rule, score)

    def _fill(self, group: Pending, row: int, rule: int, score: Score) -> None:
        group.cells[row][group.rules.index(rule)] = score
        group.missing -= 1
        if group.missing == 0:
            self._on_group(group)

    def _replace(self, seat: Seat, status: Status, error: str) -> None:
        """Kills a worker, blames the rule and completions it was at, and hires another."""
        self._selector.unregister(seat.worker.socket)
        how = seat.worker.kill()
        if seat.state == "loading":
            seat.deaths += 1
            if len(self._infos) == len(self._rules) and seat.deaths < LOAD_TRIES:
                self._hire(seat.network, seat)
                return
            what = f"did not load in {LOAD_SECONDS:.0f} s" if status == "timeout" else f"died loading: {how}"
            raise RuleError(what, seat.loading or "reward worker", "Try it with `grpo reward`")
        job, done, seconds = seat.job, seat.done, time.monotonic() - seat.since
        self._hire(seat.network, seat)
        if job is not None:
            if job.rules[done + 1 :]:
                self._queues[seat.network].appendleft(Job(job.group, job.rules[done + 1 :], job.rows))
            self._failed(job, job.rules[done], status, error or f"worker died: {how}", seconds)

    def _enforce_limits(self) -> None:
        for seat in self._seats:
            limit = self._limit(seat)
            if seat.state != "idle" and time.monotonic() > seat.since + limit:
                # What it sent meanwhile counts: this thread may have been late, not the worker.
                if seat.worker.has_sent():
                    self._hear(seat)
                else:
                    self._replace(seat, "timeout", f"took longer than {limit:g} s")

    def _hand_out(self) -> None:
        for seat in self._seats:
            queue = self._queues[seat.network]
            if seat.state == "idle" and queue:
                job = queue.popleft()
                seat.state, seat.job, seat.done, seat.since = "busy", job, 0, time.monotonic()
                if not seat.worker.send(self._frame(job)):
                    self._replace(seat, "crash", "")

    def _frame(self, job: Job) -> bytes:
        try:
            return wire.pack_pickle((job.rules, job.request()))
        except Exception as error:
            what = f"a data column cannot be sent to a worker: {error}"
            raise RuleError(what, "rewards", "Columns must hold plain values") from error
