"""What do the verbs have in common: options, the form of --json, and how a run looks while it works?"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from reversible.run import DryRun, Event

LANGUAGES = ("fr", "en")
lang_option = click.option(
    "--lang",
    type=click.Choice(LANGUAGES),
    default=lambda: default_language(),
    show_default="from REVERSIBLE_LANG or the locale",
    help="Language of what is printed.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; docs/json/ has its schema."
)
into_option = click.option(
    "--into", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the run is kept."
)
since_option = click.option(
    "--since", type=click.Path(path_type=Path), metavar="DIR",
    help="An earlier run: parts of tables that did not change since are taken from it; witnesses are taken anew.",
)  # fmt: skip
tsa_option = click.option(
    "--tsa", metavar="URL", help="The time-stamping authority (RFC 3161) to ask; default: REVERSIBLE_TSA_URL."
)
tsa_certificate_option = click.option(
    "--tsa-certificate", type=click.Path(path_type=Path), metavar="FILE",
    help="PEM certificates, of the authority or its root, that are trusted for time.",
)  # fmt: skip

_WORDS = {
    "seal": ("Plan sealed", "Plan scellé"),
    "inventory": ("Inventory", "Inventaire"),
    "export": ("Export and witness", "Export et témoin"),
    "ship": ("Ship and read back", "Envoi et relecture"),
    "rerun": ("Re-run, cut off", "Ré-exécution, coupée"),
    "evidence": ("Verdicts and evidence", "Verdicts et preuves"),
}


def default_language() -> str:
    """REVERSIBLE_LANG, else the locale's, else English."""
    for variable in ("REVERSIBLE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        chosen = os.environ.get(variable, "")[:2].lower()
        if chosen in LANGUAGES:
            return chosen
    return "en"


def print_json(document: object, *, sort_keys: bool = False) -> None:
    """What --json prints: one document, in UTF-8 whatever the terminal's encoding, with no NaN: JSON has none."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=sort_keys, indent=1)
    click.echo(text.encode(errors="backslashreplace"))  # a file name that is no UTF-8 becomes JSON's own "\udcff"


def follow(run: "DryRun", *, lang: str) -> Iterator["Event"]:
    """Pass a run's events on, drawing them on stderr: a bar on a terminal, one line per phase elsewhere."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        yield from _draw(run, lang)
    else:
        yield from _list(run, lang)


def _draw(run: "DryRun", lang: str) -> Iterator["Event"]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[at]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        tasks: dict[str, int] = {}
        run.watch = lambda event: progress.update(progress.tasks[-1].id, at=f"{event.subject} {event.note}"[:50])
        for event in run.events():
            if event.phase not in tasks:
                tasks[event.phase] = int(progress.add_task(phase_name(event.phase, lang), total=None, at=""))
            task = progress.tasks[tasks[event.phase]]
            total = event.total or task.total
            if event.ended:
                progress.update(task.id, total=1, completed=1, at="")
            else:
                progress.update(task.id, total=total, completed=event.done, at=f"{event.subject} {event.note}"[:50])
            yield event


def _list(run: "DryRun", lang: str) -> Iterator["Event"]:
    begin = last = time.monotonic()
    for event in run.events():
        now = time.monotonic()
        if event.ended:
            click.echo(f"{phase_name(event.phase, lang):<24} {now - begin:6.1f} s", err=True)
            begin = last = now
        elif event.phase == "export" and event.note:
            click.echo(f"  ! {event.subject}: {event.note}", err=True)
        elif now - last > 10:
            click.echo(f"  {event.subject} {event.done}/{event.total}", err=True)
            last = now
        yield event


def phase_name(phase: str, lang: str) -> str:
    """A phase in words."""
    return _WORDS[phase][LANGUAGES[::-1].index(lang)]
