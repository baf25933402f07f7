"""Is leaving possible, measured from the first byte to the signed evidence?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reversible.cli.terminal import (
    follow,
    into_option,
    json_option,
    lang_option,
    print_json,
    since_option,
    tsa_certificate_option,
    tsa_option,
)

if TYPE_CHECKING:
    from reversible.evidence.authority import Authority
    from reversible.run import DryRun

_PENDING = {
    "fr": "horodatage en attente : {error}\n  plus tard : reversible evidence timestamp {root}",
    "en": "time stamp pending: {error}\n  later: reversible evidence timestamp {root}",
}


@click.command(
    "dry-run",
    epilog="""\b
Examples:
  reversible dry-run exit-plan.toml --into run-1
  reversible dry-run exit-plan.toml --into run-1         the same again takes up an interrupted run
  reversible dry-run exit-plan.toml --into run-2 --since run-1
  reversible dry-run exit-plan.toml --into run-2 --json | jq .counts""",
)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, readable=False))
@into_option
@since_option
@json_option
@click.option("--exit-zero", is_flag=True, help="Exit 0 even when a clause failed; other statuses stay.")
@tsa_option
@tsa_certificate_option
@click.option("--nonce", help="A number that an auditor drew: it is announced in the log, and sealed.")
@lang_option
def dry_run(
    plan_file: Path,
    into: Path,
    since: Path | None,
    as_json: bool,
    exit_zero: bool,
    tsa: str | None,
    tsa_certificate: Path | None,
    nonce: str | None,
    lang: str,
) -> int:
    """Seal, export, ship, re-run cut off from the source, judge, sign, report."""
    import os

    from reversible import plan
    from reversible.evidence import authority
    from reversible.run import DryRun

    asked = authority.configured(tsa, tsa_certificate, os.environ)
    run = DryRun(plan.load(plan_file), into, lang=lang, since=since)
    with _recorded(run, asked, nonce):
        for _ in follow(run, lang=lang):
            pass
    if asked is not None:
        _stamp(run, asked, lang)
    return conclude(run, as_json=as_json, exit_zero=exit_zero, lang=lang)


@contextmanager
def _recorded(run: "DryRun", asked: "Authority | None", nonce: str | None) -> Iterator[None]:
    """Announce the run in the log before it begins, and write there what became of it."""
    from datetime import UTC, datetime

    from reversible.errors import Interrupted, ReversibleError
    from reversible.evidence.dossier import Sealing, statement_of
    from reversible.evidence.history import Log

    log = Log.of(run.key)
    known = log.read()
    intent = log.intend(
        plan_sha256=run.plan.sha256, place=str(run.space.root), at=datetime.now(UTC), nonce=nonce,
        organisation=str(run.plan.sealed()["contract"]["customer"]),
        authority=None if asked is None else asked.to_json(),
    )  # fmt: skip
    run.sealing = Sealing(previous=None if known is None else known.last_statement, nonce=nonce, authority=asked)
    try:
        yield
    except Interrupted:
        raise  # the same command takes it up: its intent stays open
    except ReversibleError as error:
        try:
            log.abort(intent, reason=error.message, at=datetime.now(UTC))
        except ReversibleError as second:  # the first fault is the one to tell: without its end the intent stays open
            click.echo(second.message, err=True)
        raise
    log.end(
        intent, run_id=run.documents.run["run_id"], statement=statement_of(run.space.evidence),
        exit_status=run.documents.verdicts["exit_status"], at=datetime.now(UTC),
    )  # fmt: skip


def _stamp(run: "DryRun", asked: "Authority", lang: str) -> None:
    """Ask for the token; an authority that is away leaves a whole dossier whose time is pending."""
    from reversible.errors import DestinationError, EvidenceError
    from reversible.evidence import dossier

    try:
        dossier.stamp(run.space.evidence, asked)
    except (DestinationError, EvidenceError) as error:
        click.echo(_PENDING[lang].format(error=error.message, root=run.space.evidence), err=True)


def conclude(run: "DryRun", *, as_json: bool, exit_zero: bool, lang: str, bilingual: bool = False) -> int:
    """Print the verdicts and return the exit status."""
    import sys

    from reversible.report import terminal

    documents = run.documents
    if as_json:
        print_json(documents.verdicts, sort_keys=True)  # the bytes of verdicts.json
    else:
        terminal.print_verdicts(sys.stdout, documents, lang, bilingual=bilingual)
        click.echo(f"\n{run.space.root}/report.html")
        click.echo(f"reversible evidence verify {run.space.evidence} --key {run.key.fingerprint}")
    status = int(documents.verdicts["exit_status"])
    return 0 if exit_zero and status == 1 else status
