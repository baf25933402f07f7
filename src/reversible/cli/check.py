"""Can every system be reached, with every right that an export needs?"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.interfaces import Reachability
    from reversible.plan.exit_plan import Plan
    from reversible.plan.model import Storage
    from reversible.storage_doctor import Trial


@click.command(
    epilog="""\b
Examples:
  reversible check exit-plan.toml
  reversible check exit-plan.toml --json""",
)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, readable=False))
@json_option
@lang_option
def check(plan_file: Path, as_json: bool, lang: str) -> int:
    """Validate PLAN, reach every source, try each operation of the destination's storage; say what to type.

    The storage is tried below a prefix of its own in the plan's bucket, with bounded requests and bytes, and what was
    put is removed. It works, refuses, or lies: answers 200 and reads back otherwise. 6 where a run cannot use it.
    """
    from reversible import plan
    from reversible.bundle.s3 import S3Storage
    from reversible.errors import DestinationError, ReversibleError, SourceError
    from reversible.interfaces import Reachability

    loaded = plan.load(plan_file)
    answers: list[tuple[str, Reachability]] = list(_samples(loaded))
    statuses: list[int] = []  # the answer is the first of them in the documented order
    for name, exporter in loaded.exporters().items():
        try:
            answers += [(name, answer) for answer in exporter.check()]
        except ReversibleError as error:
            answers.append((name, Reachability(subject=name, ok=False, seen=error.message, hint=error.hint)))
            statuses.append(error.exit_status)
        finally:
            exporter.close()
    statuses += [SourceError.exit_status for _, answer in answers if not answer.ok]
    probe: dict[str, Any] | None = None
    trials: list[Trial] = []
    there: list[tuple[str, Reachability]] = []
    if (where := loaded.written.destination.storage) is not None:
        there.append(("destination", _place(where, loaded.written.destination.country)))
    try:
        target = loaded.open_storage()
        if isinstance(target, S3Storage):
            trials = list(_watched(target.examine(), lang))
            probe = target.answers()
            there.append(("destination", _storage(trials, probe)))
    except ReversibleError as error:
        there.append(("destination", Reachability(subject="storage", ok=False, seen=error.message, hint=error.hint)))
        statuses.append(error.exit_status)
    there += [("destination", answer) for answer in _host(loaded)]
    statuses += [DestinationError.exit_status for _, answer in there if not answer.ok]
    answers += there
    status = min(statuses, default=0)
    if as_json:
        rows = [{"system": name, **vars(answer)} for name, answer in answers]
        print_json({"plan": str(plan_file), "answers": rows, "storage": probe})
        return status
    right, wrong = {"fr": ("  ok  ", "ÉCHEC "), "en": ("  ok  ", "FAILED")}[lang]
    for name, answer in answers:
        click.echo(f"{right if answer.ok else wrong} {name:<14} {answer.subject}: {answer.seen}")
        if answer.hint and not answer.ok:
            click.echo(f"       {'':<14} try: {answer.hint}")
    _tell(trials, lang)
    return status


def _samples(loaded: "Plan") -> "Iterator[tuple[str, Reachability]]":
    """What a clause will say of samples that are too small for it, before anything was drawn."""
    from reversible.interfaces import Reachability
    from reversible.plan.sample_size import shortfalls

    for one in shortfalls(loaded):
        asked = f"{one.criterion.clause} asks {one.criterion.op} {one.criterion.value:g}"
        seen = (
            f"warning: {one.rows:,} clean rows bound the mismatch rate at {one.bound:.2g} and {asked}: it fails on"
            f" large tables. sample_rows = {one.needed}, or the contract's own mark in [[clauses.criterion]]"
        )
        yield one.source, Reachability(subject="sample_rows", ok=True, seen=seen)


def _host(loaded: "Plan") -> "list[Reachability]":
    """Whether the plan's host can be reached over ssh, and takes the kit."""
    from reversible.destinations import chosen
    from reversible.destinations.ssh import SshDestination
    from reversible.errors import ReversibleError
    from reversible.interfaces import Reachability

    if loaded.written.destination.kind != "ssh":
        return []
    try:
        destination = chosen.destination(loaded, run_id="check", criteria=(), timeout_s=0)
    except ReversibleError as error:
        return [Reachability(subject="kit", ok=False, seen=error.message, hint=error.hint)]
    return list(destination.reach()) if isinstance(destination, SshDestination) else []


def _place(storage: "Storage", country: str | None) -> "Reachability":
    """What the storage's address says of itself, held against the plan's country. It proves no location."""
    from reversible import providers
    from reversible.interfaces import Reachability

    place = providers.place_of(providers.load(), endpoint_url=storage.endpoint_url, region=storage.region)
    if place is None:
        seen = f"no provider that is known has this address; the plan says {country or 'nothing'} of its country"
        return Reachability(subject="address", ok=True, seen=seen)
    lies = place.country or ("outside Europe" if place.in_union is False else "a country that its name does not say")
    inside = {True: ", in the Union", False: ", outside the Union", None: ""}[place.in_union]
    note = f"; {place.note}" if place.note else ""
    seen = f"{place.provider}, region {place.region or 'unknown'}: {lies}{inside}{note} ({place.source})"
    if place.region is not None and place.region != storage.region:
        return Reachability(
            subject="address", ok=False, seen=f"{seen}; the plan signs for the region {storage.region}",
            hint=f'region = "{place.region}" in [destination.storage]',
        )  # fmt: skip
    if country is not None and place.in_union is not None and place.country != country:
        return Reachability(
            subject="address", ok=False, seen=f"{seen}; the plan says {country}",
            hint=f"reversible providers {place.provider}: choose a region there, or change country in [destination]",
        )  # fmt: skip
    return Reachability(subject="address", ok=True, seen=seen)


def _storage(trials: "Sequence[Trial]", probe: dict[str, Any]) -> "Reachability":
    """Whether the storage can be used, in one line: whatever a run or the data's owner cannot do without works."""
    from reversible.interfaces import Reachability

    missing = [one for one in trials if one.need and str(one.outcome) != "works"]
    counts = Counter(str(one.outcome) for one in trials)
    seen = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    settings = f"bucket in the {probe['addressing']}, uploads carry {probe['checksum']}, {probe['parts']} parts"
    if not missing:
        return Reachability(subject="storage", ok=True, seen=f"{seen}; {settings}")
    first = "; ".join(f"{one.operation} {one.outcome}: {one.code or one.seen}" for one in missing[:3])
    hint = "take the answers below to the provider, or choose another storage"
    return Reachability(subject="storage", ok=False, seen=f"{seen}; cannot do without: {first}", hint=hint)


def _watched(trials: "Iterator[Trial]", lang: str) -> "Iterator[Trial]":
    """On a terminal, one line on stderr that says what is tried."""
    from reversible.storage_doctor import OPERATIONS, words

    drawn = sys.stderr.isatty()
    for count, one in enumerate(trials, 1):
        if drawn:
            click.echo(f"\r\033[K{count}/{len(OPERATIONS) + 1}  {words.line(one, lang)}"[:100], nl=False, err=True)
        yield one
    if drawn:
        click.echo("\r\033[K", nl=False, err=True)


def _tell(trials: "Sequence[Trial]", lang: str) -> None:
    """Each operation on a line: first what does not work."""
    from reversible.storage_doctor import words

    for outcome in ("lies", "refused", "not tried", "works"):
        for one in trials:
            if str(one.outcome) == outcome:
                click.echo(f"       {words.line(one, lang)}")
