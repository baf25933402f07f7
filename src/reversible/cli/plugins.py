"""Which exporters and verifiers are installed?"""

import inspect
from collections.abc import Mapping, Sequence

import click

from reversible import registry
from reversible.cli.terminal import json_option, print_json


@click.command(
    epilog="""\b
Examples:
  reversible exporters
  reversible exporters --json | jq '.[] | select(.name == "postgres").settings'""",
)
@json_option
def exporters(as_json: bool) -> int:
    """List the vendor systems that can be read."""
    rows = [
        {"name": name, "question": _first_line(registry.exporter(name)), "settings": list(_settings(name))}
        for name in registry.exporter_kinds()
    ]
    return _print(rows, as_json)


@click.command(
    epilog="""\b
Examples:
  reversible verifiers
  reversible verifiers --json | jq '.[] | select(.kinds | index("model")).metrics'""",
)
@json_option
def verifiers(as_json: bool) -> int:
    """List the checks, the kinds of asset that each looks at, and the metrics that it measures."""
    rows = [
        {
            "name": name,
            "question": (inspect.getdoc(inspect.getmodule(type(one))) or "").splitlines()[0],
            "kinds": sorted(one.kinds),
            "metrics": sorted(one.metrics),
        }
        for name, one in registry.verifiers().items()
    ]
    return _print(rows, as_json)


def _settings(name: str) -> list[str]:
    return sorted(registry.exporter(name).Settings.model_fields)


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


def _print(rows: Sequence[Mapping[str, object]], as_json: bool) -> int:
    if as_json:
        print_json(rows)
        return 0
    for row in rows:
        click.echo(f"{row['name']}: {row['question']}")
        for key, value in row.items():
            if isinstance(value, list):
                click.echo(f"    {key}: {', '.join(map(str, value))}")
    return 0
