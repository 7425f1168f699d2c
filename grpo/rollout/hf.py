"""The small reference: transformers in the trainer's process, one completion at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpo.errors import EngineError
from grpo.rollout.engine import RolloutEngine
from grpo.rollout.transfer import checksum
from grpo.types import FinishReason, Request, Rollout, Sampling

if TYPE_CHECKING:
    from torch import Tensor


class HfEngine(RolloutEngine):
    """See `RolloutEngine`. Slow: for comparison, and where vLLM is not installed.

    Args:
        checkpoint: folder or hub id.
        dtype: "float32" or "bfloat16".
        context: longest sequence in tokens; the model's own when None.
        version: version of the checkpoint's weights.
        device: where it computes: the trainer's own device.
    """

    def __init__(
        self, checkpoint: str, *, dtype: str, context: int | None, version: int, device: str = "cpu"
    ) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype))
        self._model = model.eval().requires_grad_(False).to(device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
        self._context: int = context or self._model.config.get_text_config().max_position_embeddings
        self._ends = _end_tokens(self._model, self._tokenizer)
        self._version = version
        self._queue: deque[Request] = deque()

    @property
    def version(self) -> int:
        return self._version

    def submit(self, requests: Iterable[Request]) -> None:
        self._queue.extend(requests)

    def finished(self) -> Iterator[Rollout]:
        while self._queue:
            yield self._draw(self._queue.popleft())

    def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        import torch

        found = []
        for sequence in sequences:
            ids = torch.tensor([sequence], device=self._model.device)
            logprobs = self._model(ids).logits[0, :-1].float().log_softmax(-1)  # [T-1, V]
            found.append(logprobs.gather(1, ids[0, 1:, None])[:, 0].tolist())
        return found

    def update_weights(self, weights: Iterable[tuple[str, Tensor]], version: int) -> Mapping[str, str]:
        own = dict(self._model.named_parameters(remove_duplicate=False)) | dict(self._model.named_buffers())
        received = {}
        for name, tensor in weights:
            if name not in own:
                raise EngineError(f"the model has no tensor {name}", "weight update")
            own[name].copy_(tensor)
            received[name] = checksum(tensor)
        self._version = version
        return received

    def close(self) -> None:
        self._model = None

    def _draw(self, request: Request) -> Rollout:
        import torch

        sampling, prompt = request.sampling, request.prompt_ids
        generator = torch.Generator(self._model.device).manual_seed(request.seed)
        text = _Text(self._tokenizer, prompt, sampling.stop)
        limit = min(sampling.max_tokens, self._context - len(prompt))
        token_ids: list[int] = []
        logprobs: list[float] = []
        reason: FinishReason = "length"
        stop_reason: str | int | None = None
        step, cache = torch.tensor([prompt], device=self._model.device), None
        while len(token_ids) < limit and stop_reason is None:
            output = self._model(step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            token, logprob = _sample(output.logits[0, -1].float(), sampling, generator)
            token_ids.append(token)
            logprobs.append(logprob)
            stop_reason = text.add(token)
            if stop_reason is None and token in self._ends:
                stop_reason = token
            step = torch.tensor([[token]], device=self._model.device)
        if stop_reason is not None:
            reason = "stop"
        count = len(token_ids)
        error = f"the prompt of {len(prompt)} tokens fills the context" if limit < 1 else None
        return Rollout(
            prompt_id=request.prompt_id,
            sample=request.sample,
            prompt_ids=prompt,
            token_ids=tuple(token_ids),
            sampled=(True,) * count,
            logprobs=tuple(logprobs),
            versions=(self._version,) * count,
            text=text.text,
            finish_reason="error" if error else reason,
            stop_reason=stop_reason,
            error=error,
        )


class _Text:
    """Text of a growing completion, in the prompt's context, cut after the first stop string."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int], stops: Sequence[str]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer.backend_tokenizer
        self._stream = DecodeStream(ids=list(prompt), skip_special_tokens=True)
        self._stops = stops
        self.text = ""

    def add(self, token: int) -> str | None:
        """Appends a token; the stop string it completes, if any."""
        piece = self._stream.step(self._tokenizer, token) or ""
        start = len(self.text)
        self.text += piece
        ends: list[tuple[int, str]] = []
        for stop in self._stops:
            at = self.text.find(stop, max(0, start - len(stop) + 1))
            if piece and at >= 0:
                ends.append((at + len(stop), stop))
        if not ends:
            return None
        end, stop = min(ends, key=lambda found: found[0])
        self.text = self.text[:end]
        return stop


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end a completion: the tokenizer's, and all that the generation config names."""
    named = model.generation_config.eos_token_id
    several = named if isinstance(named, list) else [named]
    return {token for token in (*several, tokenizer.eos_token_id) if token is not None}


def _sample(logits: Tensor, sampling: Sampling, generator: Any) -> tuple[int, float]:
    """A token and its log-prob. logits: [V] float32."""
    if sampling.temperature == 0:
        token = int(logits.argmax())
        return token, float(logits.log_softmax(-1)[token])
    logits = logits / sampling.temperature
    if sampling.top_p < 1:
        probs, order = logits.softmax(-1).sort(descending=True)
        beyond = order[probs.cumsum(-1) - probs >= sampling.top_p]
        logits = logits.index_fill(0, beyond, float("-inf"))
    logprobs = logits.log_softmax(-1)
    token = int(logprobs.exp().multinomial(1, generator=generator))
    return token, float(logprobs[token])
