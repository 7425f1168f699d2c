"""The `grpo` command. A command is a file; its module loads when it is called or listed.

Exit codes: 0 success, 1 the work failed, 2 the user's input was wrong, 130 interrupted.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from grpo.errors import GrpoError, UserError
from grpo.memory.heap import reuse_freed
from grpo.parallel.ending import turn
from grpo.parallel.launch import local_count, process_count

# name: module and the function or Typer app in it
COMMANDS = {
    "train": ("grpo.cli.train", "train"),
    "pretrain": ("grpo.cli.pretrain", "pretrain"),
    "merge": ("grpo.cli.merge", "merge"),
    "recipe": ("grpo.cli.recipe", "app"),
    "reward": ("grpo.cli.reward", "reward"),
    "hacking": ("grpo.cli.hacking", "hacking"),
    "report": ("grpo.cli.report", "report"),
    "watch": ("grpo.cli.watch", "watch"),
    "doctor": ("grpo.cli.doctor", "doctor"),
}


class _Lazy(MutableMapping[str, Any]):
    """Commands by name, each built when it is looked up."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            module, attribute = COMMANDS[name]
            self._built[name] = _build(name, getattr(import_module(module), attribute))
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Lazy()

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)


def _build(name: str, target: Any) -> Any:
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False, rich_markup_mode="rich")
        target.command(name)(function)
    command = typer.main.get_command(target)
    command.name = name
    return command


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("grpo-toolkit"))
        raise typer.Exit


@app.callback()
def grpo(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """GRPO post-training: base checkpoint, vLLM rollouts, rule-based rewards, better policy.

    Example: [bold]grpo train demo[/]
    """
    if process_count() > 1 and context.invoked_subcommand != "train":
        started = f"{context.invoked_subcommand} was started as {process_count()} processes"
        raise UserError(started, "torchrun", "Only train runs in several; start grpo itself.")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits. Errors of ours are one line each, without traceback."""
    # Before torch loads: beside another process, spinning threads slow each step (docs/decisions.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if arguments is None and sys.argv[1:2] in (["train"], ["pretrain"]):
        reuse_freed()
    try:
        app(args=arguments, prog_name="grpo")
    except GrpoError as error:
        _end(error.exit_code, partial(print_error, error))
    except SystemExit as end:
        _end(end.code, partial(_interrupted, arguments or sys.argv[1:]) if end.code == 130 else None)
    except Exception:
        if process_count() == 1:
            raise
        _end(1, traceback.print_exc)
    sys.exit(0)


def _end(code: Any, tell: Callable[[], object] | None) -> NoReturn:
    """Ends the process; of several, the first to fail tells why and the others end with its code."""
    tell = tell or (lambda: None)
    if process_count() == 1 or not code:
        tell()
        sys.exit(code)
    with turn(code) as (first, code):
        if first:
            tell()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # an exchange that never ends must not hold it up


def _interrupted(arguments: Sequence[str]) -> None:
    _say(f"[yellow]interrupted[/]{_how_to_resume(arguments)}")


def _how_to_resume(arguments: Sequence[str]) -> str:
    """What to type after Ctrl-C; empty for commands that cannot go on."""
    from rich.markup import escape

    if not arguments or arguments[0] != "train" or "--dry-run" in arguments:
        return ""
    kept = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
    several = process_count() > 1
    command = f"torchrun --nproc-per-node {local_count()} -m grpo" if several else "grpo"
    return escape(f"; to go on from the newest checkpoint: {command} {shlex.join(kept)} --resume")


def print_error(error: GrpoError) -> None:
    """Prints an error to stderr, a line each."""
    from rich.markup import escape

    for line in str(error).splitlines():
        _say(f"[bold red]error:[/] {escape(line)}")


def _say(markup: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(markup, soft_wrap=True, highlight=False, emoji=False)
