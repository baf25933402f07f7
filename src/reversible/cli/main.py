"""Which verbs are there, and what happens when one fails?"""

import errno
import importlib
import logging
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

import click

from reversible import __version__
from reversible.errors import DestinationError, Interrupted, ReversibleError, UsageError

_VERBS = {
    "check": "reversible.cli.check:check",
    "clauses": "reversible.cli.clauses:clauses",
    "compare": "reversible.cli.compare:compare",
    "dry-run": "reversible.cli.dry_run:dry_run",
    "evidence": "reversible.cli.evidence:evidence",
    "export": "reversible.cli.export:export",
    "exporters": "reversible.cli.plugins:exporters",
    "history": "reversible.cli.history:history",
    "init": "reversible.cli.init:init",
    "inventory": "reversible.cli.inventory:inventory",
    "kit": "reversible.cli.kit:kit",
    "prove": "reversible.cli.prove:prove",
    "providers": "reversible.cli.providers:providers",
    "replay": "reversible.cli.replay:replay",
    "report": "reversible.cli.report:report",
    "restore": "reversible.cli.restore:restore",
    "schema": "reversible.cli.schema:schema",
    "serve": "reversible.cli.serve:serve",
    "ship": "reversible.cli.ship:ship",
    "verifiers": "reversible.cli.plugins:verifiers",
    "verify": "reversible.cli.verify:verify",
}


class LazyGroup(click.Group):
    """Loads a verb's module when it is called: `reversible --help` costs no more than click."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from reversible import registry

        return sorted({*_VERBS, *registry.commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from reversible import registry

        if cmd_name in _VERBS:
            module, _, attribute = _VERBS[cmd_name].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        point = registry.commands().get(cmd_name)
        return None if point is None else point.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  reversible demo                             see the whole line work on this machine
  reversible init exit-plan.toml              write an exit plan
  reversible check exit-plan.toml             reach every system, list missing rights
  reversible dry-run exit-plan.toml --into run-1
  reversible evidence verify run-1/evidence --key FINGERPRINT

\b
Exit status: 0 nothing failed and nothing blocking is untested at this level; 1 a clause failed;
2 usage or plan error; 3 inconclusive; 4 the source refused; 5 bundle or evidence altered;
6 the destination refused; 70 a bug of ours; 130 interrupted.""",
)
@click.version_option(__version__, prog_name="reversible")
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice for all of it.")
def cli(verbose: int) -> None:
    """Proves that a customer can really leave: export, re-run elsewhere, a verdict per clause, signed evidence."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with the documented status."""
    status = _status(list(sys.argv[1:] if argv is None else argv))
    # A Ctrl-C that falls into exec() or eval() of a text, as namedtuple() does at an import, leaves a mark in CPython
    # by which `python -m` ends with the signal instead of the status, although the interrupt was caught; evaluating
    # another text takes the mark off (run_eval_code_obj in Python/pythonrun.c of 3.11).
    eval("None")  # noqa: S307
    sys.exit(status)


def _status(argv: list[str]) -> int:
    try:
        result: Any = cli.main(args=argv, prog_name="reversible", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return _say(Interrupted("interrupted", hint=_same_command(argv)))
    except click.UsageError as error:
        asked = f"{error.ctx.command_path} --help" if error.ctx is not None else "reversible --help"
        return _say(UsageError(error.format_message(), hint=asked))
    except click.ClickException as error:
        return _say(UsageError(error.format_message(), hint="reversible --help"))
    except KeyboardInterrupt:
        return _interrupted(argv)
    except BrokenPipeError:  # the reader of our output went away: `reversible clauses | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ReversibleError as error:
        return _say(error)
    except Exception as error:  # noqa: BLE001 - a bug of ours: the traceback goes to a file that the user can send
        if _is_interrupt(error):
            return _interrupted(argv)
        if (fault := _fault_of_machine(error)) is not None:
            return _say(fault)
        with tempfile.NamedTemporaryFile("w", prefix="reversible-bug-", suffix=".log", delete=False) as file:
            file.write(f"reversible {__version__}, Python {sys.version}\n{traceback.format_exc()}")
        click.echo(f"error: this is a bug of reversible, not of yours; the log is {file.name}", err=True)
        return 70


def _interrupted(argv: list[str]) -> int:
    return _say(Interrupted("interrupted: finished parts are kept", hint=_same_command(argv)))


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether a Ctrl-C lies below: CPython 3.11 wraps one that falls into a class's making into a RuntimeError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _fault_of_machine(error: Exception) -> ReversibleError | None:
    """A full disk or a forbidden file that no step put in words of its own; None for any other fault."""
    if not isinstance(error, OSError):
        return None
    place = str(error.filename) if error.filename else "a disk of this machine"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DestinationError(f"{place}: no space left", hint="df -h, and TMPDIR may name another disk")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return UsageError(f"{place}: {error.strerror}", hint=f"ls -ld {shlex.quote(place)}")
    return None


def _say(error: ReversibleError) -> int:
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"  try: {error.hint}", err=True)
    return error.exit_status


def _same_command(argv: Sequence[str]) -> str:
    import shlex

    return shlex.join(["reversible", *argv])
