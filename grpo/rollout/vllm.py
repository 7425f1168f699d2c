"""The default rollout engine: vLLM in a process of its own.

vLLM binds threads to cores, replaces parts of torch and may die; in its own process it does none of that to
the trainer. The process is vllm_child.py; this is the trainer's side.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo.errors import EngineError
from grpo.parallel.launch import child_environment
from grpo.rollout.engine import RolloutEngine
from grpo.rollout.process import Child
from grpo.rollout.transfer import pack
from grpo.rollout.wire import Drawn, Load, Lora, Start
from grpo.types import Request, Rollout

if TYPE_CHECKING:
    from torch import Tensor

START_SECONDS = 3600.0  # a large checkpoint may first have to be fetched
ANSWER_SECONDS = 600.0  # for anything but generation
ALWAYS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, which is ours to watch
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
UNLESS_SET = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    # Threads that spin while they wait cost a small model most of its speed once anything else runs.
    "OMP_WAIT_POLICY": "PASSIVE",
}


class VllmEngine(RolloutEngine):
    """See `RolloutEngine`.

    Args:
        checkpoint: folder or hub id.
        dtype: "float32" or "bfloat16".
        context: longest sequence in tokens; the model's own when None.
        version: version of the checkpoint's weights.
        seed: of whatever the requests do not seed themselves.
        log_file: receives all that the process prints.
        scratch: folder whose disk carries weight updates that memory has no room for.
        load: what a step asks of it, for which it makes room.
        engine_args: passed through to vLLM.
        lora: the adapter, where weight updates bring nothing else.
        sleep: give GPU memory up while the trainer updates.
        device: its own GPU, `cuda:N` as this process counts them; the trainer's when None.
    """

    worker = "grpo.rollout.vllm_worker.WeightTaker"

    def __init__(
        self,
        checkpoint: str,
        *,
        dtype: str,
        context: int | None,
        version: int,
        seed: int,
        log_file: Path,
        scratch: Path,
        load: Load,
        engine_args: Mapping[str, Any] | None = None,
        lora: Lora | None = None,
        sleep: bool = False,
        device: str | None = None,
    ) -> None:
        self._version = version
        self._scratch = scratch
        self._fault: str | None = None  # why it may no longer generate
        self._open: dict[int, Request] = {}
        self._submitted = 0
        self._arrived: deque[Rollout] = deque()
        self._sleeps = sleep
        environment = {**UNLESS_SET, **child_environment(os.environ, device), **ALWAYS}
        self._child = Child("grpo.rollout.vllm_child", log_file, environment)
        given, alone = dict(engine_args or {}), device is not None
        try:
            self._child.send(
                Start(checkpoint, dtype, context, seed, given, self.worker, load, lora, sleep, alone)
            )
            _, self.start_seconds = self._child.receive(START_SECONDS)
        except BaseException:
            self._child.close()
            raise

    @property
    def version(self) -> int:
        return self._version

    @property
    def pid(self) -> int:
        """Process id of the engine's process."""
        return self._child.pid

    def submit(self, requests: Iterable[Request]) -> None:
        self._check()
        batch = []
        for request in requests:
            batch.append((self._submitted, request))
            self._open[self._submitted] = request
            self._submitted += 1
        if batch:
            self._child.send(("submit", batch))

    def finished(self) -> Iterator[Rollout]:
        while self._arrived or self._open:
            while self._arrived:
                yield self._arrived.popleft()
            if self._open:
                self._check()
                self._take(self._child.receive())

    def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        if not sequences:
            return []
        self._check()
        self._child.send(("logprobs", [list(sequence) for sequence in sequences]))
        answer: list[list[float]] = self._answer()
        return answer

    def update_weights(self, weights: Iterable[tuple[str, Tensor]], version: int) -> Mapping[str, str]:
        self._check()
        if self._open:
            raise EngineError(f"{len(self._open)} completions are still being drawn", "weight update")
        with pack(weights, self._scratch) as parcel:
            self._fault = f"the update to version {version} did not succeed"
            self._child.send(("update", parcel.entries))
            self._child.send_file(parcel.file.fileno())
            received: dict[str, str] = self._answer()
        if received == parcel.checksums:
            self._fault, self._version = None, version
        return received

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        if not self._sleeps:
            yield
            return
        self._sleep(True)
        yield  # whatever fails in there ends the run, and the engine with it
        import torch

        torch.cuda.empty_cache()  # or the engine would find the trainer's spare memory taken
        self._sleep(False)

    def _sleep(self, wanted: bool) -> None:
        self._check()
        if self._open:
            raise EngineError(f"{len(self._open)} completions are still being drawn", "sleep")
        self._child.send(("sleep", wanted))
        if self._answer() != wanted:
            raise EngineError(
                f"the engine would not {'sleep' if wanted else 'wake'}", str(self._child.log_file)
            )

    def close(self) -> None:
        self._fault = "it was closed"
        self._child.close()

    def _check(self) -> None:
        if self._fault:
            raise EngineError(f"the engine cannot be used: {self._fault}")

    def _answer(self) -> Any:
        while (message := self._child.receive(ANSWER_SECONDS))[0] != "answer":
            self._take(message)
        return message[1]

    def _take(self, message: tuple[str, list[Drawn], int, bool]) -> None:
        _, batch, received, idle = message
        for drawn in batch:
            request = self._open.pop(drawn.number, None)
            if request is None:
                raise EngineError(f"completion {drawn.number} came back twice or was never asked for")
            self._arrived.append(self._rollout(request, drawn))
        if idle and received == self._submitted and self._open:
            raise EngineError(f"{len(self._open)} completions never came back")

    def _rollout(self, request: Request, drawn: Drawn) -> Rollout:
        count = len(drawn.token_ids)
        return Rollout(
            prompt_id=request.prompt_id,
            sample=request.sample,
            prompt_ids=request.prompt_ids,
            token_ids=drawn.token_ids,
            sampled=(True,) * count,
            logprobs=drawn.logprobs,
            versions=(self._version,) * count,
            text=drawn.text,
            finish_reason=drawn.finish_reason,
            stop_reason=drawn.stop_reason,
            error=drawn.error,
        )
