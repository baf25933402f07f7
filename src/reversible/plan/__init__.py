"""What was agreed before anything left? The exit plan: one TOML file, read whole or refused with every fault.

`Secret` and `Text` are for the `Settings` of exporters. Nothing heavy is imported before `load` or `schema`.
"""

from pathlib import Path
from typing import Any

from reversible.plan.exit_plan import Plan
from reversible.secrets import Secret, Text

__all__ = ["Plan", "Secret", "Text", "load", "schema"]


def load(path: Path) -> Plan:
    """Read an exit plan.

    Raises:
        UsageError: the file cannot be read, is not TOML, or is wrong somewhere; every fault is named, one a line.
    """
    from reversible.plan.reading import read

    return read(path)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of an exit plan, with the keys of every installed exporter."""
    from reversible.plan.json_schema import exit_plan_schema

    return exit_plan_schema()
