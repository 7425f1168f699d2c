"""What the folder of a finished run says of its rules and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo.errors import UserError
from grpo.nearest import suggest
from grpo.recipe import Rule, Train
from grpo.samples import rule_names, sample_files
from rewards.runner import RuleSpec


@dataclass(frozen=True)
class OldRun:
    """What a run folder says of its rules."""

    folder: Path
    files: tuple[Path, ...]  # samples by step
    names: tuple[str, ...]  # [K] of the rules in its samples
    rules: tuple[Rule, ...]  # [K] of its recipe
    steps: int  # train.steps

    def find(self, spec: str) -> int | None:
        """Which of its rules a name or `file.py:function` means; None where it had no such rule."""
        for k, (name, rule) in enumerate(zip(self.names, self.rules, strict=True)):
            if spec in (rule.rule, name):
                return k
        bare = spec.rpartition(":")[2]
        return self.names.index(bare) if bare in self.names else None


def open_run(folder: Path) -> OldRun:
    """Reads the rules of a run folder, without checking the rest of its recipe.

    Raises:
        UserError: it is no run's folder, or samples and recipe do not belong together.
    """
    import yaml

    files = sample_files(folder)
    path = folder / "recipe.yaml"
    try:
        recipe = yaml.safe_load(path.read_text())
        rules = [Rule.model_validate(rule) for rule in recipe["rewards"]]
        steps = Train.model_validate(recipe["train"]).steps
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        what = f"no recipe of a run: {str(error).splitlines()[0]}"
        raise UserError(what, str(path), "Name the folder of a run") from error
    names = rule_names(files[-1])
    if len(names) != len(rules):
        what = f"{len(rules)} rules, but the samples hold scores of {len(names)}"
        raise UserError(what, str(path), "Samples and recipe.yaml must be of one run")
    return OldRun(folder, tuple(files), tuple(names), tuple(rules), steps)


def spec_for(run: OldRun, rule: str, options: Mapping[str, Any], limits: Mapping[str, Any]) -> RuleSpec:
    """The rule to run: options and limits of the run's own entry, where it has one, under those given."""
    own = run.find(rule)
    if own is None:
        return RuleSpec(rule, dict(options), **limits)
    entry = run.rules[own]
    kept = (
        entry.options if rule in (entry.rule, run.names[own]) else {}
    )  # another file has options of its own
    own_limits = {name: getattr(entry, name) for name in ("timeout", "memory", "network")}
    return RuleSpec(rule, kept | dict(options), **(own_limits | dict(limits)))


def compared_with(run: OldRun, rule: str, against: str | None) -> int | None:
    """Index of the run's rule whose scores the new ones are held against; its namesake when none is named.

    Raises:
        UserError: the run had no rule `against`.
    """
    found = run.find(rule if against is None else against)
    if found is None and against is not None:
        hint = suggest(against, run.names, "Its rules")
        raise UserError(f"the run had no rule {against!r}", "--against", hint)
    return found
