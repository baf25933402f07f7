"""Can every system be reached, with every right that an export needs?"""

from pathlib import Path

import click

from reversible.cli.terminal import json_option, lang_option, print_json


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


def _summary(probe: dict[str, object]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in probe.items() if isinstance(value, bool | str | int))
