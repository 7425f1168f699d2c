"""The report on a run folder: every check with what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grpo.hacking.course import read_course
from grpo.hacking.flags import THRESHOLDS, Finding, judge
from grpo.hacking.held_out import evaluations, held_out_rose, judge_reward
from grpo.metrics import read_metrics
from grpo.samples import read_samples, sample_files


@dataclass(frozen=True)
class Report:
    """What a run's samples and metrics show."""

    run: str
    steps: int
    findings: list[Finding]

    @property
    def flagged(self) -> list[Finding]:
        """The findings over their thresholds."""
        return [finding for finding in self.findings if finding.status == "flagged"]

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return asdict(self) | {"flagged": [finding.check for finding in self.flagged]}


def watch(folder: Path) -> Report:
    """Reads a run folder, finished or still running, and judges it by every check.

    Raises:
        UserError: it holds no samples.
    """
    files = sample_files(folder)
    course, accuracies = read_course(files), evaluations(read_metrics(folder))
    learned = held_out_rose(accuracies)
    findings = [judge_reward(course, accuracies), *(judge(check, course, learned) for check in THRESHOLDS)]
    return Report(str(folder), len(files), findings)


def completion_of(folder: Path, name: str) -> str:
    """The text of a sample, by its id step/prompt_id/sample."""
    step, prompt, sample = name.split("/")
    columns = ["step", "prompt_id", "sample", "completion"]
    rows = read_samples(folder / "samples" / f"step-{int(step):06d}.parquet", columns)
    found = next(row for row in rows if (row["prompt_id"], row["sample"]) == (prompt, int(sample)))
    return str(found["completion"])
