"""The values that flow round the loop. Frozen: a stage takes some and returns new ones.

Axis letters: P prompts of a step, G completions of a prompt, K reward rules, S sequences of a chunk,
L packed tokens of a chunk (prompts and completions), T completion tokens of a chunk (what the loss sees),
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from rewards.runner import Score

Message = dict[str, str]
FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class Prompt:
    """One row of a data set, rendered and tokenised."""

    id: str  # unique and stable in its data set: a hash of the prompt
    prompt: str | list[Message]  # as the row gives it; reward rules receive this
    answer: str | None  # the gold
    text: str  # rendered by the template, as the model reads it
    token_ids: tuple[int, ...]  # tokens of `text`
    columns: Mapping[str, Any] = field(default_factory=dict)  # every other column, handed to reward rules


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. temperature 0 is greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()  # strings that end a completion; kept in its text


@dataclass(frozen=True)
class Request:
    """One completion to draw. `seed` comes from `rollout.engine.sample_seed`."""

    prompt_id: str
    sample: int  # 0 … G-1
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    seed: int


@dataclass(frozen=True)
class Rollout:
    """One completion as the engine drew it. The four per-token tuples have one length."""

    prompt_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]  # everything after the prompt, the stop token included
    sampled: tuple[bool, ...]  # True where the policy sampled the token (all, in a single turn)
    logprobs: tuple[float, ...]  # behaviour log-probs, of the distribution actually sampled from
    versions: tuple[int, ...]  # policy version that sampled each token
    text: str
    finish_reason: FinishReason  # from the engine; `length` is a truncated completion
    stop_reason: str | int | None = None  # the stop string or stop token id that ended it
    error: str | None = None  # the engine's words where finish_reason is `error`


@dataclass(frozen=True)
class Group:
    """One prompt and its G completions. Scores are [G][K]; rewards and advantages [G]."""

    prompt: Prompt
    rollouts: tuple[Rollout, ...]
    scores: tuple[tuple[Score, ...], ...] = ()
    rewards: tuple[float, ...] = ()  # weighted sum over the rules that gave a score; NaN where none did
    advantages: tuple[float, ...] = ()  # 0 where the reward is NaN


class Segment(NamedTuple):
    """A run of tokens that stand next to each other in a chunk."""

    length: int
    parent: int = -1  # the earlier segment that it continues; -1 where it begins a sequence


@dataclass(frozen=True)
class Chunk:
    """S sequences for one forward pass: no padding in it, and what several begin with is in it once.

    The tokens form trees of segments. A sequence is the tokens from a root to one of the segments: its
    prompt, which the completions of a group share, and its completion. Per packed token [L]; per completion
    token the policy sampled [T]; per sequence [S].
    """

    token_ids: Tensor  # [L] int64
    positions: Tensor  # [L] int64, from 0 at the root
    segments: tuple[Segment, ...]  # in the order of their tokens; sum of lengths = L
    predicted: Tensor  # [T] int64 index into L of each completion token
    source: Tensor  # [T] int64 index into L of the token before it, whose hidden state predicts it
    sequence: Tensor  # [T] int64 index into S
    behaviour: Tensor  # [T] float32 log-probs under the engine
    versions: Tensor  # [T] int64 policy version of each token
    advantages: Tensor  # [T] float32
    completion_lengths: Tensor  # [S] int64 sampled completion tokens of each sequence
    old: Tensor | None = None  # [T] float32 log-probs before the first optimiser step; None: on-policy


@dataclass(frozen=True)
class Totals:
    """What one optimiser step normalises by: counted over all its sequences, those skipped included."""

    sequences: int
    tokens: int  # completion tokens in the loss
    max_tokens: int  # rollout.max_tokens, the constant divisor of Dr.GRPO


@dataclass(frozen=True)
class Batch:
    """The chunks of one optimiser step and the totals they share. May hold no chunk."""

    chunks: tuple[Chunk, ...]
    totals: Totals
