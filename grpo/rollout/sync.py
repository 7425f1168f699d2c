"""The check that engine and trainer hold the same weights. It is always on.

Log-probs alone are blind in bfloat16: their noise (0.04) hides a skipped update at lr 1e-6. So there are
three checks. Every tensor the engine's loader consumed must have the checksum of the tensor sent. At the
start each parameter group is visibly perturbed, and the engine must follow. After each update the log-probs
of a few probe sequences must agree about as well as they did at the start.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Protocol

from grpo.errors import SyncError
from grpo.parallel.ranks import ALONE, Ranks
from grpo.rollout.transfer import checksum

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.rollout.engine import RolloutEngine
    from grpo.types import Group

LIMIT = {"float32": 1e-2, "bfloat16": 0.25}  # mean |log-prob difference| that is never right
FLOOR = {"float32": 1e-3, "bfloat16": 0.1}  # below this no drift is alarmed
DRIFT = 5.0  # times the mean difference at the start
VISIBLE = 10.0  # a perturbation moves log-probs by this many times the difference at the start
LEAST_MOVE = {"float32": 0.02, "bfloat16": 0.4}  # and by this much at least
FOLLOWED = 0.3  # largest share of the movement by which the engine may differ afterwards
CLOSELY = 0.1  # the same of the least movement, where all groups moved at once
SCALES = (0.5, 2.0, 8.0)  # of a perturbation, relative to the tensor's own size
SAMPLE = 256  # elements of each master tensor watched for movement
LEAST_RATE = 0.01  # of the peak: below it, as where a decay ends, rounding may rightly undo a step
MOVED = 0.1  # smallest median share of them that an optimiser step moves


def must_move(terms: Mapping[str, float], groups: Sequence[Group], peak: float) -> bool:
    """Whether a step must have moved the weights: it had something to learn, and a rate far from rounding.

    Where all groups tie the KL term alone acts, whose gradient is 0 while policy and reference are equal.
    Advantages without a gradient are no excuse: then the loss does not reach the weights.

    Args:
        terms: of the step: `grad_norm` and `lr` where the optimiser was called.
        groups: of the step, with their advantages.
        peak: learning rate after warm-up.
    """
    if "grad_norm" not in terms or terms["lr"] < LEAST_RATE * peak:
        return False
    return terms["grad_norm"] > 0 or any(any(group.advantages) for group in groups)


class SyncedPolicy(Protocol):
    """What the check needs of the trainer's policy."""

    @property
    def version(self) -> int:
        """Version of the weights: the number of rollout steps trained."""
        ...

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All weights by checkpoint name, in the engine's dtype, on any device."""
        ...

    def sequence_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """As `RolloutEngine.logprobs`: temperature 1, of each token but the first."""
        ...

    def named_masters(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors the optimiser steps, by checkpoint name; changed in place by the check."""
        ...


@dataclass(frozen=True)
class Agreement:
    """Absolute log-prob differences between engine and trainer over all probe tokens."""

    mean: float
    max: float


class Sync:
    """Sends a policy's weights to an engine and checks that they arrived.

    Args:
        engine: holds `policy`'s weights and version already.
        policy: the trainer's side.
        probes: a few short token sequences of two tokens or more.
        dtype: of the engine's weights, "float32" or "bfloat16".
        ranks: the processes that hold `policy`, each with its own view of an engine; all of them check, at
            the same time, and each judges the worst that any of them found.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        policy: SyncedPolicy,
        probes: Sequence[Sequence[int]],
        dtype: str,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self._engine, self._policy, self._probes, self._dtype = engine, policy, probes, dtype
        self._limit = LIMIT[dtype]
        self._masters: dict[str, Tensor] = {}

    def start(self) -> dict[str, float]:
        """Measures the agreement, then perturbs the parameter groups and sees the engine follow.

        Masters are restored bit by bit and sent again. SyncError names the group that did not arrive.
        """
        noise = self._agreement()
        self._judge(noise)
        before = self._send()
        self._judge(self._agreement())
        unmoved = self._follow(noise)
        if (after := self._send()) != before:
            name = next(name for name in before if before[name] != after.get(name))
            raise SyncError(f"{name} is not what it was before the perturbation test", "weight sync")
        level = self._agreement()
        self._judge(level)
        self._limit = min(LIMIT[self._dtype], max(FLOOR[self._dtype], DRIFT * level.mean))
        self._masters = self._sample_masters()
        return {**_metrics(level), "mismatch/sync_unmoved_groups": float(unmoved)}

    def send(self, stepped: bool) -> dict[str, float]:
        """Sends the weights; SyncError names the first tensor that did not arrive.

        Args:
            stepped: whether the optimiser must have moved the weights since the last call (`must_move`).
        """
        masters = self._sample_masters()
        moved = _median_moved(self._masters, masters)
        if stepped and moved < MOVED:
            raise SyncError(
                f"the optimiser stepped and moved {moved:.1%} of the weights: the update is lost in rounding",
                "weight sync",
                "Keep float32 master weights, or raise train.lr",
            )
        self._masters = masters
        self._send()
        return {"mismatch/sync_moved": moved}

    def check(self) -> dict[str, float]:
        """Versions must be equal and log-probs agree as they did at the start."""
        if self._engine.version != self._policy.version:
            raise SyncError(
                f"the engine holds version {self._engine.version}, not {self._policy.version}",
                "weight sync",
            )
        found = self._agreement()
        self._judge(found)
        return _metrics(found)

    def _send(self) -> dict[str, str]:
        sent: dict[str, str] = {}

        def outgoing() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in self._policy.weights():
                sent[name] = checksum(tensor)
                yield name, tensor

        received = self._engine.update_weights(outgoing(), version=self._policy.version)
        compare(sent, received)
        for rank, other in enumerate(self._ranks.exchange(sent)):
            compare_ranks(sent, other, rank)
        return sent

    def _follow(self, noise: Agreement) -> int:
        """Perturbs every group at once and sees the engine follow; the number of groups that nothing moves.

        One update, instead of one a group. Where the engine does not agree closely, it is one group at a time
        that decides and names: rounding of a model so perturbed may be large in bfloat16.
        """
        base = self._policy.sequence_logprobs(self._probes)
        groups = parameter_groups(name for name, _ in self._policy.named_masters())
        wanted = max(VISIBLE * noise.mean, LEAST_MOVE[self._dtype])
        moves = {group: self._visible(group, base, wanted) for group in groups}
        scales = {group: move[0] for group, move in moves.items() if move}
        with self._perturbed(scales):
            self._send()
            rest = self._agreement().mean
        closely = CLOSELY * min((move[1] for move in moves.values() if move), default=0.0)
        if not rest <= closely:
            for group, move in moves.items():
                if move:
                    self._follow_one(group, *move)
        return len(groups) - len(scales)

    def _visible(self, group: str, base: list[list[float]], wanted: float) -> tuple[float, float] | None:
        """The first scale at which a perturbation of the group moves the trainer's log-probs by `wanted`.

        Returns:
            The scale, and the mean movement; None where no scale moves them so far.
        """
        for scale in SCALES:
            with self._perturbed({group: scale}):
                movement = self._worst(difference(base, self._policy.sequence_logprobs(self._probes))).mean
            if movement >= wanted:
                return scale, movement
        return None

    def _follow_one(self, group: str, scale: float, movement: float) -> None:
        """Raises SyncError unless the engine takes over a perturbation of this group alone."""
        with self._perturbed({group: scale}):
            self._send()
            rest = self._agreement().mean
        if not rest <= FOLLOWED * movement:
            names = [name for name, _ in self._policy.named_masters() if group_of(name) == group]
            raise SyncError(
                f"the engine does not take over {group} ({names[0]}, {len(names)} tensors): a change "
                f"moved the trainer's log-probs by {movement:.3g} and left the engine {rest:.3g} away",
                "weight sync",
                "Its weight update is broken for this model",
            )

    @contextlib.contextmanager
    def _perturbed(self, scales: Mapping[str, float]) -> Iterator[None]:
        """The masters of these groups perturbed by their scales; restored bit by bit afterwards."""
        masters = [(tensor, group_of(name)) for name, tensor in self._policy.named_masters()]
        chosen = [(tensor, scales[group]) for tensor, group in masters if group in scales]
        saved = [tensor.detach().clone() for tensor, _ in chosen]
        try:
            for index, (tensor, scale) in enumerate(chosen):
                _perturb(tensor, saved[index], scale, seed=index)
            yield
        finally:
            for (tensor, _), original in zip(chosen, saved, strict=True):
                tensor.detach().copy_(original)

    def _agreement(self) -> Agreement:
        ours = self._policy.sequence_logprobs(self._probes)
        return self._worst(difference(ours, self._engine.logprobs(self._probes)))

    def _worst(self, found: Agreement) -> Agreement:
        every = self._ranks.exchange(found)
        return Agreement(max(one.mean for one in every), max(one.max for one in every))

    def _judge(self, found: Agreement) -> None:
        if not found.mean <= self._limit:
            raise SyncError(
                f"log-probs of engine and trainer differ by {found.mean:.3g} on average (limit "
                f"{self._limit:.3g}), {found.max:.3g} at most: they do not hold the same weights",
                "weight sync",
            )

    def _sample_masters(self) -> dict[str, Tensor]:
        return {name: _sample(tensor) for name, tensor in self._policy.named_masters()}


def group_of(name: str) -> str:
    """Parameter group of a tensor: its name without layer and expert numbers.

    The two factors of a LoRA adapter are one group: while B is 0, a change of A alone moves nothing.
    """
    return re.sub(r"\.\d+(?=\.)", "", name).replace(".lora_A.", ".lora_AB.").replace(".lora_B.", ".lora_AB.")


def parameter_groups(names: Iterator[str]) -> list[str]:
    """Groups in order of first appearance."""
    return list(dict.fromkeys(group_of(name) for name in names))


def difference(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> Agreement:
    """Mean and largest |log-prob difference|; both hold a list a sequence. NaN differs by infinity."""
    gaps = [
        abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)
    ]
    gaps = [gap if gap == gap else float("inf") for gap in gaps]
    return Agreement(fmean(gaps), max(gaps))


def compare(sent: Mapping[str, str], received: Mapping[str, str]) -> None:
    """Checksums by tensor name must be the same; SyncError names the first that is not, and how many."""
    wrong = [name for name in sent if received.get(name) != sent[name]]
    if wrong:
        how = (
            "never reached the engine's loader" if wrong[0] not in received else "reached the engine changed"
        )
        raise SyncError(f"{wrong[0]} {how} ({len(wrong)} of {len(sent)} tensors)", "weight sync")
    if extra := [name for name in received if name not in sent]:
        raise SyncError(
            f"the engine took {extra[0]}, which was not sent ({len(extra)} tensors)", "weight sync"
        )


def compare_ranks(sent: Mapping[str, str], other: Mapping[str, str], rank: int) -> None:
    """Checksums of what two ranks sent, by tensor name; SyncError where they hold different weights."""
    if wrong := [name for name in sent if other.get(name) != sent[name]]:
        raise SyncError(
            f"the processes hold different weights: {wrong[0]} of rank {rank} ({len(wrong)} of {len(sent)} "
            "tensors)",
            "weight sync",
        )


def _metrics(found: Agreement) -> dict[str, float]:
    return {"mismatch/sync_mean": found.mean, "mismatch/sync_max": found.max}


def _sample(tensor: Tensor) -> Tensor:
    """Up to `SAMPLE` elements of a tensor, evenly spaced, copied to the CPU."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, len(flat) // SAMPLE)].cpu().clone()


def _median_moved(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> float:
    """Share of elements that differ, as the median over tensors: some rightly rest (unused embeddings)."""
    kept = [(tensor, before[name]) for name, tensor in now.items() if name in before]
    shares = [float((new != old).float().mean()) for new, old in kept if new.numel()]
    return median(shares) if shares else 1.0


def _perturb(tensor: Tensor, original: Tensor, scale: float, seed: int) -> None:
    """Sets `tensor` to `original` plus noise, `scale` times its root mean square (taken as 0.02 at least)."""
    import torch

    noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(seed))
    size = max(float(original.float().pow(2).mean().sqrt()), 0.02)
    tensor.detach().copy_(original + (scale * size * noise).to(original))
