"""`grpo reward`: a reward rule over a file of completions, or over a run's samples; the list of rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from grpo.errors import UserError


def reward(
    rule: Annotated[str | None, typer.Argument(help="registered name, or path/to/file.py:function")] = None,
    file: Annotated[
        Path | None, typer.Argument(help="JSONL with a completion a line; answer, prompt, label, … beside it")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write one JSON line a row, in the same order")] = None,
    on: Annotated[
        Path | None, typer.Option(metavar="RUN", help="score the samples of this run folder again")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="with --on: the run's rule to compare with; its namesake otherwise"
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="an option of the rule, key=value; may be repeated")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.01, help="seconds a group may take; 5, or with --on what the run allowed"),
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=0.01, help="GiB the rule may take; 4, or what the run allowed")
    ] = None,
    network: Annotated[bool, typer.Option("--network", help="the rule may use the network")] = False,
    list_: Annotated[bool, typer.Option("--list", help="list every rule with its meaning")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print what was found as JSON")] = False,
) -> None:
    """Run a reward rule over a file of completions, or over the samples of a run.

    Consecutive lines with the same prompt form a group. A `label` column (true, false, the right score, or
    right, wrong, ungraded) is compared with the scores.

    Examples:

      grpo reward --list

      grpo reward accuracy answers.jsonl --out scores.jsonl

      grpo reward my_rules.py:brevity answers.jsonl --option target=200

      grpo reward my_rules.py:grader --on runs/demo --against accuracy
    """
    from grpo.scoring import user_errors

    if list_:
        show_rules(as_json)
        return
    rule = checked(rule, file, on, against)
    given = {"timeout": timeout, "memory": memory, "network": network or None}
    limits = {name: value for name, value in given.items() if value is not None}
    with user_errors():
        if on is not None:
            judged = rescore_run(rule, on, against, option or [], limits, out, as_json)
        else:
            assert file is not None  # one of the two is given
            judged = score_file(rule, file, option or [], limits, out, as_json)
    if not judged:
        raise typer.Exit(1)


def checked(rule: str | None, file: Path | None, on: Path | None, against: str | None) -> str:
    """The rule's name, once what was given fits together."""
    if rule is None:
        raise UserError("no rule is named", "grpo reward", "Give one of `grpo reward --list`, or your own")
    if (file is None) == (on is None):
        raise UserError("completions come from one place", "grpo reward", "Give a JSONL file, or --on RUN")
    if against is not None and on is None:
        raise UserError("compares with a run's rule", "--against", "Give --on RUN too")
    return rule


def score_file(
    rule: str, file: Path, options: list[str], limits: dict[str, Any], out: Path | None, as_json: bool
) -> bool:
    """Scores a file and prints what came of it; False where the rule failed on every row."""
    from grpo.cli.reward_view import show_summary
    from grpo.trial import Lines, groups_of_rows, line_of, read_label, read_options, read_rows, score_groups
    from grpo.trial_summary import summarise
    from rewards.runner import RuleSpec, Runner

    rows = read_rows(file)
    labels = [read_label(row, f"{file}:{line}") for line, row in enumerate(rows, 1)]
    spec = RuleSpec(rule, read_options(options), **limits)
    with Lines(out) as lines, Runner([spec]) as runner:
        runner.infos()
        scores = score_groups(
            runner, groups_of_rows(rows), lambda index, score: lines.put(index, line_of(score))
        )
    summary = summarise(rule, scores, labels)
    if as_json:
        typer.echo(json.dumps(vars(summary)))
    else:
        show_summary(summary, out)
    return summary.mean is not None or not summary.error


def rescore_run(
    rule: str,
    run: Path,
    against: str | None,
    options: list[str],
    limits: dict[str, Any],
    out: Path | None,
    as_json: bool,
) -> bool:
    """Scores a run's samples again and prints what would have changed; False where the rule always failed."""
    from grpo.cli.reward_view import show_rescored
    from grpo.old_run import compared_with, open_run, spec_for
    from grpo.rescore import rescore
    from grpo.trial import Lines, read_options

    old = open_run(run)
    spec = spec_for(old, rule, read_options(options), limits)
    with Lines(out) as lines:
        found = rescore(old, spec, compared_with(old, rule, against), lines)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        show_rescored(found, old.names, out)
    return any(step.after is not None for step in found.steps) or not found.error


def show_rules(as_json: bool) -> None:
    """Prints every registered rule with its meaning and its options."""
    from grpo.cli.reward_view import show_list
    from rewards.catalogue import catalogue

    entries = catalogue()
    if as_json:
        typer.echo(json.dumps([vars(entry) for entry in entries], default=str))
    else:
        show_list(entries)
