"""Which runs were begun, and did each come to an end?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.evidence.history import History, Run

_STATES = {
    "fr": {"ended": "terminé", "aborted": "ABANDONNÉ", "open": "SANS ISSUE"},
    "en": {"ended": "ended", "aborted": "ABORTED", "open": "NO OUTCOME"},
}
_OUTCOMES: dict[str, dict[Any, str]] = {
    "fr": {0: "rien n'a échoué", 1: "au moins une clause ÉCHOUÉE", 3: "non concluant"},
    "en": {0: "nothing failed", 1: "at least one clause FAILED", 3: "inconclusive"},
}
_SUMS = {
    "fr": "{runs} essais annoncés : {ended} terminés, {aborted} abandonnés, {open} sans issue.",
    "en": "{runs} runs announced: {ended} ended, {aborted} aborted, {open} without any outcome.",
}
_SOUND = {
    "fr": "Journal entier : {size} entrées, racine {root}. Gardez ce point de contrôle, il tient dans un courriel :",
    "en": "The log is whole: {size} entries, root {root}. Keep this checkpoint, it fits in a mail:",
}
_UNPINNED = {
    "fr": "Aucune clé n'a été donnée : rien ne dit de qui est ce journal. Donnez --key.",
    "en": "No key was given: nothing says whose log this is. Give --key.",
}


@click.command(
    epilog="""\b
Examples:
  reversible history                                        the log beside the signing key
  reversible history copy-of-log --key FINGERPRINT --since checkpoint-of-march
  reversible history --json | jq '.runs[] | select(.state != "ended")'

\b
Exit status: 0 the log is whole and every run has an outcome; 3 a run has none, or no key was given for another's log;
5 the log was altered, or is not the one of the checkpoint that you kept.""",
)
@click.argument("log", required=False, type=click.Path(path_type=Path))
@click.option("--key", "pinned", metavar="FINGERPRINT|FILE", help="The key that signs the log, known by another way.")
@click.option(
    "--since", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CHECKPOINT",
    help="A checkpoint that you kept: the log must be that one, continued.",
)  # fmt: skip
@json_option
@lang_option
def history(log: Path | None, pinned: str | None, since: Path | None, as_json: bool, lang: str) -> int:
    """Show every run that was announced in LOG, also those that came to no end."""
    from reversible.errors import EvidenceError, UsageError
    from reversible.evidence import history as histories
    from reversible.evidence import keys, note

    trusted = None if pinned is None else keys.pinned(pinned).fingerprint
    if log is None:
        key = keys.load_or_create()
        own = histories.Log.of(key)
        log, trusted = own.folder, trusted or key.fingerprint
        if not (log / "checkpoint").exists():
            raise UsageError(f"{log}: no run was announced yet", hint="reversible dry-run PLAN --into DIR")
    found = histories.read(log, pinned=trusted)
    if since is not None:
        try:
            earlier = note.read(since.read_bytes(), found.vkey)
        except ValueError as error:
            raise EvidenceError(
                f"{since}: {error}", hint="a checkpoint of another log says nothing of this one"
            ) from error
        if not found.continues(earlier):
            raise EvidenceError(
                f"log {log}: it is not the one of {since}: {earlier.size} entries with another root were there",
                hint="keep both, and ask who holds the log",
            )
    note_text = (log / "checkpoint").read_text(encoding="utf-8")
    if as_json:
        print_json({"log": str(log), "pinned": trusted, **_document(found), "checkpoint": note_text})
    else:
        _print(found, note_text, lang)
        if trusted is None:
            click.echo(_UNPINNED[lang])
    return 3 if trusted is None or any(run.state == "open" for run in found.runs) else 0


def _document(found: "History") -> dict[str, Any]:
    return {
        "size": found.checkpoint.size,
        "root": found.checkpoint.root.hex(),
        "vkey": found.vkey,
        "keys": list(found.keys),
        "runs": [_run(run) for run in found.runs],
    }


def _run(run: "Run") -> dict[str, Any]:
    said = {} if run.end is None else run.end.said
    return {
        "announced_at": run.intent.said["at"],
        "entry": run.intent.index,
        "state": run.state,
        "ended_at": said.get("at"),
        "run_id": said.get("run_id"),
        "exit_status": said.get("exit_status"),
        "reason": said.get("reason"),
        "statement_sha256": said.get("statement_sha256"),
        "organisation": run.intent.said["organisation"],
        "plan_sha256": run.intent.said["plan_sha256"],
        "nonce": run.intent.said["nonce"],
    }


def _print(found: "History", note_text: str, lang: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    colours = {"ended": "green", "aborted": "yellow", "open": "bold red"}
    states = [run.state for run in found.runs]
    for run in found.runs:
        line = _run(run)
        outcome = line["reason"] or _OUTCOMES[lang].get(line["exit_status"], "")
        table.add_row(
            str(line["entry"]), line["announced_at"][:19], Text(_STATES[lang][run.state], style=colours[run.state]),
            Text(_printable(line["run_id"] or "-")), Text(_printable(outcome)),
        )  # fmt: skip
    Console(highlight=False).print(table)
    counts = {state: states.count(state) for state in _STATES["en"]}
    click.echo(_SUMS[lang].format(runs=len(states), **counts))
    click.echo(_SOUND[lang].format(size=found.checkpoint.size, root=found.checkpoint.root.hex()))
    click.echo(f"\n{note_text}")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
