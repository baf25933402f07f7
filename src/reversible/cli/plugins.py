"""Which exporters and verifiers are installed?"""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from reversible import registry
from reversible.cli.terminal import json_option, print_json


@click.command(
    epilog="""\b
Examples:
  reversible exporters
  reversible exporters --install tensorflow
  reversible exporters --json | jq '.[] | select(.name == "postgres").settings'""",
)
@click.option("--install", metavar="FRAMEWORK", help="Make the environment that converts this framework's models.")
@json_option
def exporters(install: str | None, as_json: bool) -> int:
    """List the vendor systems that can be read, and the environments that convert models.

    An environment holds one training framework, away from everything else, in the user's data directory (or in
    $REVERSIBLE_ENVIRONMENTS). --install makes it with pip, from versions and digests that this release names.
    """
    if install is not None:
        click.echo(_install(install))
        return 0
    rows = [
        {"name": name, "question": _first_line(registry.exporter(name)), "settings": list(_settings(name))}
        for name in registry.exporter_kinds()
    ]
    _print(rows, as_json)
    if not as_json:
        for name, one in _environments().items():
            here = f"installed in {one.folder}" if one.installed else "beside the packages of this Python"
            missing = f"not installed: reversible exporters --install {name}"
            click.echo(f"environment {name}: {here if one.installed or one.beside_us else missing}")
    return 0


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


def _environments() -> dict[str, Any]:
    return {name: one for module in registry.environments().values() for name, one in module.ENVIRONMENTS.items()}


def _install(name: str) -> Path:
    """Make it in the module that has it; any module says which there are."""
    modules = list(registry.environments().values())
    module = next((one for one in modules if name in one.ENVIRONMENTS), modules[0])
    made: Path = module.install(name)
    return made


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
