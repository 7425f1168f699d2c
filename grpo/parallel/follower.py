"""The run as the ranks after the first see it: they keep step and write nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grpo.checkpoint import save_checkpoint
from grpo.faults import settle
from grpo.parallel.ranks import ALONE, Ranks
from grpo.run import Run, peak_bytes, start_state
from grpo.trackers import Trackers

if TYPE_CHECKING:
    from grpo.data import PromptStream
    from grpo.gather import Gathered
    from grpo.pieces import Pieces
    from grpo.policy import Policy
    from grpo.recipe import Recipe
    from grpo.rollout.engine import RolloutEngine
    from grpo.run import Evaluate
    from grpo.scoring import Scorer
    from grpo.types import Group
    from grpo.view import View


class Follower(Run):
    """See `Run`. Where the first rank stops the run, this one finds out at the next exchange."""

    def __init__(
        self,
        recipe: Recipe,
        view: View,
        checkpoint: Path | None,
        pieces: Pieces | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.view, self.checkpoint, self.ranks = recipe, view, checkpoint, ranks
        silent = recipe.output.model_copy(update={"trackers": []})
        self.trackers = Trackers(recipe.model_copy(update={"output": silent}), None)
        self.folder = Path(recipe.output.folder)
        self.state = start_state(checkpoint)
        self.done = int(self.state["version"])
        self._phases = defaultdict(float)

    def note_metrics(self, metrics: dict[str, float]) -> None:
        """The first rank's are written."""

    def check_graded(self, scorer: Scorer, gathered: Gathered) -> list[Group]:
        """The step's groups, as the first rank has them."""
        return settle(gathered.groups, self.recipe.train.on_rule_error)

    def record(
        self, step: int, scorer: Scorer, gathered: Gathered, groups: Sequence[Group], terms: dict[str, float]
    ) -> None:
        """Counts the step, and tells the first rank how much memory it took here."""
        self.done = step + 1
        self.ranks.exchange(peak_bytes())

    def evaluate_if_due(self, evaluate: Evaluate, engine: RolloutEngine) -> None:
        """The first rank evaluates."""

    def save_if_due(self, policy: Policy, prompts: PromptStream) -> None:
        """Gives its part of a sharded policy to the first rank, which saves it."""
        if self._save_due():
            save_checkpoint(self.folder / "checkpoints", policy, {})
