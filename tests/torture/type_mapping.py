"""How is each type of the torture stored, and how does it go back? Written from the code's own mapping."""

import re
from collections.abc import Mapping, Sequence

import type_table

from reversible_exporters import postgres_catalog
from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_types import Column, Stored

BEGIN, END = "<!-- generated: python -m pytest tests/torture/test_type_mapping.py -->", "<!-- end -->"
_GOES_BACK = {
    "int": "digits",
    "bool": "`true`, `false`",
    "float": "the shortest digits that give the same bits; `nan`, `inf`, `-inf`, `-0`",
    "decimal": "all digits, perhaps with an exponent (`1E-8`)",
    "date": "`2026-11-24`",
    "time": "`10:00:00.000001`",
    "timestamp": "`2026-11-24 10:00:00.000001`",
    "timestamptz": "`2026-11-24 10:00:00.000001Z`",
    "binary": r"hex, `\x00ff`",
    "text": "the server's own text, as it is",
}


def columns(session: Session) -> dict[str, Column]:
    """The column `v` of each table of the torture, by the type's DDL; xml too, which not every server is built with."""
    found = {
        table.relation: next(one for one in postgres_catalog.columns(session, table) if one.name == "v")
        for table in postgres_catalog.tables(session)
        if table.schema == "t" and table.relation in {one.slug for one in type_table.TYPES}
    }
    return {**found, "xml": Column(name="v", source_type="xml", base="xml", typmod=-1)}


def rendered(found: Mapping[str, Column]) -> str:
    """A row per way of storing, with every type that is stored so."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in type_table.TYPES:
        stored = found[one.ddl].stored
        groups.setdefault((str(stored.arrow), stored.family, _set_aside(stored)), []).append(one.ddl)
    lines = [
        "| PostgreSQL type | Arrow and Parquet type | family | set aside in the sidecar | goes back as |",
        "|---|---|---|---|---|",
    ]
    for (arrow, family, odd), types in groups.items():
        back = _GOES_BACK[family.partition(":")[0]]
        lines.append(f"| {_listed(types)} | `{arrow}` | `{family}` | {odd} | {back} |")
    lines += ["", f"{len(type_table.TYPES)} types, and arrays of each that can have them, are in the torture."]
    return "\n".join(lines)


def replaced(document: str, table: str) -> str:
    """The page with `table` between its marks."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    return re.sub(pattern, lambda _: f"{BEGIN}\n{table}\n{END}", document, flags=re.DOTALL)


def _listed(types: Sequence[str]) -> str:
    return " · ".join(f"`{one}`" for one in types)


def _set_aside(stored: Stored) -> str:
    return f"where `{stored.exceptional.format(c='v')}`" if stored.exceptional else "nothing: all values fit"
