"""Can every system be reached, with every right that an export needs?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.interfaces import Reachability
    from reversible.plan.model import Storage


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
    """Validate PLAN, reach every source and the destination's storage; say what to type where a right is missing."""
    from reversible import plan
    from reversible.bundle import storage
    from reversible.errors import ReversibleError
    from reversible.interfaces import Reachability

    loaded = plan.load(plan_file)
    answers: list[tuple[str, Reachability]] = []
    status = 0
    for name, exporter in loaded.exporters().items():
        try:
            answers += [(name, answer) for answer in exporter.check()]
        except ReversibleError as error:
            answers.append((name, Reachability(subject=name, ok=False, seen=error.message, hint=error.hint)))
            status = error.exit_status
        finally:
            exporter.close()
    probe = None
    if (where := loaded.written.destination.storage) is not None:
        answers.append(("destination", _place(where, loaded.written.destination.country)))
    try:
        target = loaded.open_storage()
        if target is not None:
            probe = storage.probe(target)
            answers.append(("destination", Reachability(subject="storage", ok=True, seen=_summary(probe))))
    except ReversibleError as error:
        answers.append(("destination", Reachability(subject="storage", ok=False, seen=error.message, hint=error.hint)))
        status = status or error.exit_status
    if not status and not all(answer.ok for _, answer in answers):
        status = 4
    if as_json:
        rows = [{"system": name, **vars(answer)} for name, answer in answers]
        print_json({"plan": str(plan_file), "answers": rows, "storage": probe})
        return status
    right, wrong = {"fr": ("  ok  ", "ÉCHEC "), "en": ("  ok  ", "FAILED")}[lang]
    for name, answer in answers:
        click.echo(f"{right if answer.ok else wrong} {name:<14} {answer.subject}: {answer.seen}")
        if answer.hint and not answer.ok:
            click.echo(f"       {'':<14} try: {answer.hint}")
    return status


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


def _summary(probe: dict[str, object]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in probe.items() if isinstance(value, bool | str | int))
