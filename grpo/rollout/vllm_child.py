"""Main module of the engine process: vLLM's in-process engine, fed and emptied over the line to the trainer.

The messages are those of wire.py. The heavy imports come after the process is tied to its parent.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from grpo.errors import EngineError, GrpoError
from grpo.rollout.process import Outbox, follow_parent, receive_file
from grpo.rollout.transfer import Entry
from grpo.rollout.wire import Drawn, Start
from grpo.types import FinishReason, Request

REASONS: dict[str | None, FinishReason] = {"stop": "stop", "length": "length", "abort": "abort"}


class Server:
    """Answers messages and steps the engine while it has something to do."""

    def __init__(self, start: Start, line: Connection, outbox: Outbox) -> None:
        self.line, self.outbox = line, outbox
        self.engine, self.lora = start_vllm(start), start.lora
        self.adapter: Any = None  # what requests are drawn with; none before the first update
        self.updates = 0
        self.received = 0  # requests so far
        self.drawn: list[Drawn] = []
        self.scores: dict[str, list[float]] = {}
        self.wanted = 0  # sequences whose log-probs were asked for

    def run(self) -> None:
        """Serves until told to end."""
        while True:
            busy = self.engine.has_unfinished_requests()
            while self.line.poll(0 if busy else None):
                message = self.line.recv()
                if message is None:
                    self.engine.engine_core.shutdown()
                    return
                self.handle(*message)
                busy = True
            self.step()

    def handle(self, command: str, content: Any) -> None:
        """Carries out one message."""
        if command == "submit":
            for number, request in content:
                self.add(number, request)
            self.received += len(content)
        elif command == "logprobs":
            self.ask_logprobs(content)
        elif command == "sleep":
            self.outbox.send(("answer", self.sleep(content)))
        else:
            self.outbox.send(("answer", self.update(content, receive_file(self.line))))

    def add(self, number: int, request: Request) -> None:
        """Queues a request; one that vLLM refuses comes back as an error at once."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError

        sampling = request.sampling
        parameters = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop=list(sampling.stop),
            include_stop_str_in_output=True,
            seed=request.seed,
            logprobs=0,  # of the sampled token
            flat_logprobs=True,
        )
        try:
            name = self._add(str(number), request.prompt_ids, parameters)
        except (ValueError, VLLMClientError) as error:
            self.drawn.append(Drawn(number, (), (), "", "error", None, str(error)))
            return
        # The sampled token's own text is not wanted: decoding it takes a fifth of a small model's time.
        self.engine.output_processor.request_states[name].logprobs_processor.tokenizer = None

    def ask_logprobs(self, sequences: Sequence[Sequence[int]]) -> None:
        """Queues sequences to be read, not continued: one token is drawn and thrown away."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError

        self.wanted = len(sequences)
        for index, sequence in enumerate(sequences):
            parameters = SamplingParams(
                temperature=1.0, max_tokens=1, prompt_logprobs=0, flat_logprobs=True, detokenize=False
            )
            try:
                self._add(f"score-{index}", sequence, parameters)
            except (ValueError, VLLMClientError) as error:
                raise EngineError(str(error), f"sequence {index}") from None

    def step(self) -> None:
        """One engine step; hands over what it finished."""
        for output in self.engine.step():
            if not output.finished:
                continue
            if output.request_id.startswith("score-"):
                self.scores[output.request_id] = list(output.prompt_logprobs.logprobs)
            else:
                self.drawn.append(drawn(output))
        idle = not self.engine.has_unfinished_requests()
        if self.drawn or idle:
            self.outbox.send(("rollouts", self.drawn, self.received, idle))
            self.drawn = []
        if self.wanted and len(self.scores) == self.wanted:
            self.outbox.send(("answer", [self.scores[f"score-{index}"] for index in range(self.wanted)]))
            self.wanted, self.scores = 0, {}

    def update(self, entries: list[Entry], descriptor: int) -> dict[str, str]:
        """New weights, or a new adapter, from an open file; checksums of what each worker consumed."""
        path = f"/proc/{os.getpid()}/fd/{descriptor}"  # workers may be processes of their own
        self.updates += 1
        if self.lora is None:
            first, *others = self.engine.collective_rpc("take_weights", args=(path, entries))
        else:
            sent = (path, entries, self.updates, self.lora)
            first, *others = self.engine.collective_rpc("take_adapter", args=sent)
            self.adapter = lora_request(self.updates)
        os.close(descriptor)
        if any(other != first for other in others):
            raise EngineError("the workers took different weights", "weight update")
        if not self.engine.reset_prefix_cache():
            raise EngineError("the prefix cache of the old weights could not be emptied", "weight update")
        received: dict[str, str] = first
        return received

    def sleep(self, wanted: bool) -> bool:
        """Gives GPU memory up (weights go to RAM, the cache is lost) or takes it back; if it sleeps now."""
        if wanted:
            self.engine.sleep(level=1)
        else:
            self.engine.wake_up()
        return bool(self.engine.is_sleeping())

    def _add(self, name: str, token_ids: Sequence[int], parameters: Any) -> str:
        from vllm.sampling_params import RequestOutputKind

        parameters.output_kind = RequestOutputKind.FINAL_ONLY
        prompt = {"type": "token", "prompt_token_ids": list(token_ids)}
        added: str = self.engine.add_request(name, prompt, parameters, lora_request=self.adapter)
        return added


def lora_request(number: int) -> Any:
    """vLLM's name for an adapter that its worker has already; a new name shares no prefix cache."""
    from vllm.lora.request import LoRARequest

    return LoRARequest(f"update-{number}", number, "in memory")


def drawn(output: Any) -> Drawn:
    """A finished vLLM request as it goes over the line."""
    completion = output.outputs[0]
    token_ids = tuple(completion.token_ids)
    reason = REASONS.get(completion.finish_reason, "error")
    stop = completion.stop_reason
    if reason == "stop" and stop is None:
        stop = token_ids[-1]  # vLLM leaves the end token out here
    failed = None if reason in ("stop", "length") else f"vLLM ended it: {completion.finish_reason}"
    logprobs = tuple(completion.logprobs.logprobs[: len(token_ids)])
    return Drawn(int(output.request_id), token_ids, logprobs, completion.text, reason, stop, failed)


def start_vllm(start: Start) -> Any:
    """vLLM's `LLMEngine` in this process."""
    import torch
    from vllm import LLM
    from vllm.exceptions import VLLMError
    from vllm.platforms import current_platform

    from grpo.rollout.vllm_args import engine_arguments, start_error

    on_cpu = current_platform.is_cpu()
    arguments = engine_arguments(
        start.checkpoint,
        dtype=start.dtype,
        context=start.context,
        seed=start.seed,
        on_cpu=on_cpu,
        load=start.load,
        overrides=start.engine_args,
        lora=start.lora,
        sleep=start.sleep,
        alone=start.alone,
    )
    if on_cpu and arguments["enforce_eager"]:
        # vLLM compiles one function of its log-probs even so: seconds, and a C++ compiler, for no gain.
        torch.compiler.set_stance("force_eager")
    try:
        return LLM(**arguments, worker_extension_cls=start.worker).llm_engine
    except (ValueError, VLLMError) as error:
        if (ours := start_error(error, arguments, on_cpu=on_cpu)) is not None:
            raise ours from error
        raise


def main() -> None:
    """Runs the process: arguments are the line's descriptor and the parent's process id."""
    line = Connection(int(sys.argv[1]))
    follow_parent(line, int(sys.argv[2]))
    outbox = Outbox(line)
    begun = time.monotonic()
    code = 0
    try:
        gc.disable()  # a fifth of the start would go into searching fresh imports for garbage
        server = Server(line.recv(), line, outbox)
        gc.enable()
        outbox.send(("ready", time.monotonic() - begun))
        server.run()
    except GrpoError as error:
        outbox.send(error)
        code = 1
    except Exception as error:
        traceback.print_exc()
        outbox.send(EngineError(f"the engine failed: {type(error).__name__}: {error}"))
        code = 1
    outbox.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing to tidy up, and interpreters with vLLM in them end slowly


if __name__ == "__main__":
    main()
