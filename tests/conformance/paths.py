"""How does each of our own ways of comparing answer for a pair of tables?

The left table is the source: its plan (names and families) is what both sides are read by.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from conformance.zoo import DIFFER, EQUAL
from reversible import fingerprint
from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.comparison.tables import open_table
from reversible.comparison.two_sided import compare_tables
from reversible.fingerprint import Cells, Column, Plan
from reversible.fingerprint.strong import strong
from reversible.interfaces import Witness
from reversible_verifiers import table_files
from reversible_verifiers.schema import Schema

ASSET = Asset(source="zoo", kind=Kind.TABLE, name="pair")
SINGLE = "part-00000.parquet"


def columns(table: pa.Table) -> tuple[Column, ...]:
    return tuple(Column(field.name, fingerprint.family(field.type)) for field in table.schema)


def batches(table: pa.Table) -> Iterator[dict[str, Cells]]:
    for batch in table.to_batches():
        yield {name: Cells(values) for name, values in zip(batch.schema.names, batch.columns, strict=True)}


def alike(left: pa.Table, right: pa.Table) -> bool:
    """Whether both tables have the same columns by name and logical type; the scale of a decimal is storage."""

    def logical(table: pa.Table) -> dict[str, str]:
        return {one.name: "decimal" if one.family.startswith("decimal") else one.family for one in columns(table)}

    return logical(left) == logical(right)


def additive(left: pa.Table, right: pa.Table, key: str, folder: Path) -> str:
    """The fingerprint of Arrow tables, both under the left one's plan."""
    if not alike(left, right):
        return DIFFER
    plan = _plan(left, key)
    one, other = (fingerprint.fingerprint(plan, batches(table)) for table in (left, right))
    found = fingerprint.compare(one, other)
    assert found.none == one.same_as(other)
    return EQUAL if found.none else DIFFER


def additive_keyless(left: pa.Table, right: pa.Table, key: str, folder: Path) -> str:
    return additive(left, right, "", folder)


def strong_root(left: pa.Table, right: pa.Table, key: str, folder: Path) -> str:
    if not alike(left, right):
        return DIFFER
    one, other = (strong(columns(left), batches(table), folder=folder) for table in (left, right))
    assert (one.root == other.root) == (not one.differing(other) and one.rows == other.rows)
    return EQUAL if one.root == other.root else DIFFER


def verifiers(left: pa.Table, right: pa.Table, key: str, folder: Path) -> str:
    """A bundle whose witness saw the left table and whose Parquet file holds the right one."""
    bundle = bundled(left, right, key, folder)
    _, _, found = table_files.compared(ASSET, bundle)
    drifts = next(one for one in Schema().verify(ASSET, bundle) if one.metric == "data.schema_drift_undeclared")
    return EQUAL if found.none and drifts.value == 0 else DIFFER


def files_compared(left: pa.Table, right: pa.Table, key: str, folder: Path) -> str:
    """`reversible compare` on two Parquet files; what it cannot compare must never read as equal."""
    for name, table in (("left", left), ("right", right)):
        pq.write_table(table, folder / f"{name}.parquet")
    found = compare_tables(
        open_table(str(folder / "left.parquet")), open_table(str(folder / "right.parquet")), key=[key] if key else []
    )
    assert found.outcome in ("equal", "different")
    return EQUAL if found.outcome == "equal" else DIFFER


FILES = "verifiers on a bundle"
COMPARE = "reversible compare on two files"
PATHS = {
    "additive fingerprint": additive,
    "additive fingerprint, keyless": additive_keyless,
    "strong fingerprint": strong_root,
    FILES: verifiers,
    COMPARE: files_compared,
}


def bundled(
    left: pa.Table,
    right: pa.Table,
    key: str,
    folder: Path,
    *,
    seen: pa.Table | None = None,
    totals: Mapping[str, object] | None = None,
) -> Bundle:
    """A bundle that holds the right table; its witness saw the left one, and has the SHA-256 root of `seen`."""
    source = fingerprint.fingerprint(_plan(left, key), batches(left))
    grids = source.to_tables()
    facts: dict[str, object] = {
        "rows": left.num_rows,
        "columns": _described(left),
        "constraints": [],
        "fingerprint": source.to_json(),
    }
    if totals is not None:
        facts["totals"] = totals
    if seen is not None:
        root = strong(columns(seen), batches(seen), folder=folder)
        facts["strong"], grids["strong"] = root.to_json(), root.to_table()
    with BundleWriter(folder / "bundle") as writer:
        with writer.part(f"{ASSET.folder}/{SINGLE}") as stream:
            pq.write_table(right, stream, compression="zstd", row_group_size=4)
        stored = pq.read_schema(folder / f"bundle.partial/{ASSET.folder}/{SINGLE}")
        declared = [
            {**one, "arrow_type": str(field.type)} for one, field in zip(_described(right), stored, strict=True)
        ]
        writer.put_json(f"{ASSET.folder}/table.json", _table_json(declared))
        writer.put_witness(ASSET, Witness(method="the left table", facts=facts, tables=grids))
        writer.close_asset(ASSET, exporter="zoo", at=datetime.now(UTC))
        return writer.finish(about={}, at=datetime.now(UTC))


def _plan(table: pa.Table, key: str) -> Plan:
    return Plan("zoo", columns(table), (key,) if key else (), fingerprint.buckets_for(table.num_rows))


def _described(table: pa.Table) -> list[dict[str, object]]:
    """The logical type under a domain's name: the mapping of a vendor's types is not what is looked at here."""
    found = []
    for one in columns(table):
        logical = "decimal" if one.family.startswith("decimal:") else one.family
        about = {"name": one.name, "family": one.family, "source_type": logical, "nullable": True, "domain": "zoo"}
        found.append(about)
    return found


def _table_json(declared: list[dict[str, object]]) -> Mapping[str, object]:
    return {
        "format": "reversible-table/1", "name": ASSET.name, "source_type": "zoo", "columns": declared,
        "primary_key": [], "unique": [], "foreign_keys": [], "checks": [], "comment": None, "placeholder": None,
    }  # fmt: skip
