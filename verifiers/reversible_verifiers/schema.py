"""Does the copy mean the same: types, nullability, time zones, references?"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reversible import fingerprint
from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible.fingerprint import Cells, Column, Plan
from reversible_verifiers import mysql_types, table_files

_PLACES = 20
_PLACEHOLDER = "reversible_row"

# The type mapping written down beforehand: what may hold a PostgreSQL type exactly. Text always may, since the
# server's own text is exact; docs/bundle-format.md shows this table.
_MAPPING: Sequence[tuple[str, frozenset[str]]] = [
    (r"smallint", frozenset({"int16", "int32", "int64"})),
    (r"integer", frozenset({"int32", "int64"})),
    (r"bigint|oid", frozenset({"int64"})),
    (r"boolean", frozenset({"bool"})),
    (r"real", frozenset({"float", "double"})),
    (r"double precision", frozenset({"double"})),
    (r"date", frozenset({"date32[day]"})),
    (r"time(\(\d\))? without time zone", frozenset({"time64[us]"})),
    (r"timestamp(\(\d\))? without time zone", frozenset({"timestamp[us]"})),
    (r"timestamp(\(\d\))? with time zone", frozenset({"timestamp[us, tz=UTC]"})),
    (r"bytea", frozenset({"binary", "large_binary"})),
]
_TEXT = frozenset({"string", "large_string"})
# SQLite's declared types bind nothing: a column holds the class of most of its values, the others are exceptions.
_SQLITE = frozenset({"int64", "double", "string", "binary"})
# A file's columns have the types that its owner declared for the copy: docs/type-mapping.md, "Files".
_FILES = {
    "int16": frozenset({"int16"}), "int32": frozenset({"int32"}), "int64": frozenset({"int64"}),
    "float64": frozenset({"double"}), "bool": frozenset({"bool"}), "date": frozenset({"date32[day]"}),
    "time": frozenset({"time64[us]"}), "timestamp": frozenset({"timestamp[us]"}),
    "timestamptz": frozenset({"timestamp[us, tz=UTC]"}), "text": frozenset({"string"}),
    "binary": frozenset({"binary"}),
}  # fmt: skip


class Schema:
    """Compares the files' physical schema with table.json, table.json with the witness, and each with the mapping.

    Foreign keys are checked row by row across the files; a NULL in a key refers to nothing (MATCH SIMPLE).
    """

    metrics = frozenset({"data.schema_drift_undeclared", "data.orphan_references"})
    kinds = frozenset({Kind.TABLE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """Two findings per table.

        Raises:
            BundleError: a file cannot be read, or a referenced table is not in the bundle.
        """
        document = _document(asset, bundle)
        drifts = tuple(_drifts(asset, bundle, document))
        files = tuple(bundle.relative(part) for part in table_files.parts(asset, bundle))
        yield Finding(
            "data.schema_drift_undeclared", asset.id, len(drifts), unit="count", places=drifts[:_PLACES], files=files,
            seen="{columns} columns compared with their declaration and with the source's catalog; {n} drifts",
            facts={"columns": len(document["columns"]), "n": len(drifts)},
        )  # fmt: skip
        orphans = 0
        places: list[str] = []
        checked = [key for key in document["foreign_keys"] if key["enforced"]]
        for key in checked:
            count, rows = _orphans(asset, bundle, document, key)
            if count and any(not name.endswith("_bin") for name in key.get("collations", ())):
                raise BundleError(
                    f"{asset.name}: foreign key {key['name']} compares by collation {', '.join(key['collations'])}, by"
                    f" whose rules {count} rows may or may not refer to one that is spelled otherwise"
                )
            orphans += count
            places += [f"{asset.name}.{'+'.join(key['columns'])} [{row}] -> {key['table']}" for row in rows]
        yield Finding(
            "data.orphan_references", asset.id, orphans, unit="count", places=tuple(places[:_PLACES]), files=files,
            seen="{keys} foreign keys followed; {n} rows refer to a row that is not there",
            facts={"keys": len(checked), "n": orphans},
        )  # fmt: skip


def permitted(source_type: str) -> frozenset[str]:
    """The Arrow types that may hold a PostgreSQL type."""
    numeric = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", source_type)
    if numeric:
        return _TEXT | {f"decimal128({numeric[1]}, {numeric[2]})"}
    for pattern, types in _MAPPING:
        if re.fullmatch(pattern, source_type):
            return _TEXT | types
    return _TEXT


def _holders(database: Any, source_type: str) -> frozenset[str]:
    if database == "sqlite":
        return _SQLITE
    if str(database).startswith("file: "):
        return _FILES.get(source_type, frozenset()) | permitted(source_type.replace("decimal", "numeric", 1)) - _TEXT
    return mysql_types.permitted(source_type) if database in ("mysql", "mariadb") else permitted(source_type)


def _document(asset: Asset, bundle: Bundle) -> Mapping[str, Any]:
    document = bundle.document(asset, "table.json")
    if not isinstance(document, dict) or document.get("format") != "reversible-table/1":
        raise BundleError(f"{asset.id}: table.json is not reversible-table/1")
    for key in ("columns", "primary_key", "foreign_keys"):
        if not isinstance(document.get(key), list):
            raise BundleError(f"{asset.id}: table.json has no list {key!r}")
    return document


def _drifts(asset: Asset, bundle: Bundle, document: Mapping[str, Any]) -> Iterator[str]:
    """One sentence per drift, the column first."""
    declared = document["columns"]
    names = [column["name"] for column in declared]
    said = {column["name"]: column for column in bundle.witness(asset).facts.get("columns", [])}
    for name in sorted(set(said) ^ set(names)):
        where = "the source has it, table.json does not" if name in said else "table.json has it, the source does not"
        yield f"{asset.name}.{name}: {where}"
    for column in declared:
        for key in ("source_type", "nullable"):
            source = said.get(column["name"], column)[key]
            if source != column[key]:
                yield f"{asset.name}.{column['name']}: {key} is {source} at the source, {column[key]} in table.json"
        # A domain's name does not tell the type below it; the declared type then stands alone.
        holders = _holders(document.get("source_type"), column["source_type"])
        if column.get("domain") is None and column["arrow_type"] not in holders:
            yield f"{asset.name}.{column['name']}: {column['source_type']} declared as {column['arrow_type']}"
    yield from _drifts_of_keys(asset, bundle, document)
    yield from _drifts_of_files(asset, bundle, document)


def _drifts_of_keys(asset: Asset, bundle: Bundle, document: Mapping[str, Any]) -> Iterator[str]:
    """Keys and checks that the source's catalog and table.json do not share; of checks the names only."""
    try:
        said = {(kind, name): tuple(columns) for name, kind, columns in bundle.witness(asset).facts["constraints"]}
        primary = next((name for kind, name in said if kind == "p"), "primary key")
        written = {("u", one["name"]): tuple(one["columns"]) for one in document["unique"]}
        written |= {("f", one["name"]): tuple(one["columns"]) for one in document["foreign_keys"]}
        if document["primary_key"]:
            written["p", primary] = tuple(document["primary_key"])
        checks = {("c", one["name"]) for one in document["checks"]}
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{asset.id}: table.json or its witness names no keys: {error!r}") from error
    written |= {key: said.get(key, ()) for key in checks}
    for key in sorted({*said, *written}):
        if said.get(key) != written.get(key):
            yield f"{asset.name}: constraint {key[1]} is not the same at the source and in table.json"


def _drifts_of_files(asset: Asset, bundle: Bundle, document: Mapping[str, Any]) -> Iterator[str]:
    declared = {column["name"]: column for column in document["columns"]}
    expected = list(declared) or [_PLACEHOLDER]
    nulls = dict.fromkeys(declared, 0)
    odd = dict.fromkeys(declared, 0)
    for part in table_files.parts(asset, bundle):
        with table_files.reading(part):
            schema = pq.read_schema(part)
        for name in expected:
            if name not in schema.names:
                yield f"{asset.name}.{name}: not in {part.name}"
            elif schema.names.count(name) > 1:
                yield f"{asset.name}.{name}: stands in {part.name} {schema.names.count(name)} times"
        for field in schema:
            if field.name not in expected:
                yield f"{asset.name}.{field.name}: in {part.name}, and not declared"
            elif field.name in declared and str(field.type) != declared[field.name]["arrow_type"]:
                wanted = declared[field.name]["arrow_type"]
                yield f"{asset.name}.{field.name}: declared {wanted}, {part.name} has {field.type}"
        present = [name for name in declared if name in schema.names]
        exceptions = table_files.exceptions(part)
        for name in sorted(set(exceptions) - set(declared)):
            yield f"{asset.name}.{name}: exceptions of a column that is not declared"
        with table_files.reading(part), pq.ParquetFile(part) as file:
            start = 0
            for batch in file.iter_batches(table_files.BATCH_ROWS, columns=present):
                for name, values in zip(batch.schema.names, batch.columns, strict=True):
                    nulls[name] += values.null_count
                    here = [row - start for row in exceptions.get(name, {}) if start <= row < start + len(values)]
                    odd[name] += len(here)
                    if here and pc.take(values, here).null_count != len(here):
                        yield f"{asset.name}.{name}: an exception stands beside a value in {part.name}"
                start += batch.num_rows
    for name, column in declared.items():
        if not column["nullable"] and nulls[name] > odd[name]:
            yield f"{asset.name}.{name}: {nulls[name] - odd[name]} NULLs in a NOT NULL column"


# --- references -------------------------------------------------------------------------------------------------


def _orphans(
    asset: Asset, bundle: Bundle, document: Mapping[str, Any], key: Mapping[str, Any]
) -> tuple[int, list[str]]:
    """How many rows refer to nothing, and the first of them by their values."""
    target = next((one for one in bundle.assets if one.kind is Kind.TABLE and one.source == asset.source
                   and one.name == key["table"]), None)  # fmt: skip
    if target is None:
        raise BundleError(f"{asset.name} refers to {key['table']} ({key['name']}), which is not in the bundle")
    families = _families(_document(target, bundle), key["referenced"])
    known = [hashes for hashes, _, _ in _hashes(target, bundle, key["referenced"], families)]
    there = np.unique(np.concatenate(known)) if known else np.zeros(0, np.uint64)
    count = 0
    rows: list[str] = []
    for hashes, refers, cells in _hashes(asset, bundle, key["columns"], families):
        lost = np.flatnonzero(refers & ~np.isin(hashes, there))
        count += len(lost)
        for row in lost[: _PLACES - len(rows)]:
            rows.append(
                ", ".join(f"{name}={one.exceptions.get(int(row), one.values[int(row)])}" for name, one in cells.items())
            )
    return count, rows


def _families(document: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    known = {column["name"]: column["family"] for column in document["columns"]}
    return [known[name] for name in names]


def _hashes(
    asset: Asset, bundle: Bundle, names: Sequence[str], families: Sequence[str]
) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_], dict[str, Cells]]]:
    """Per batch: a 64-bit hash of the key's values, whether none of them is NULL, and the cells.

    Both sides are hashed under the same names, by position; two different keys collide with probability 2**-64.
    """
    plan = Plan("references", tuple(Column(name, family) for name, family in zip(names, families, strict=True)))
    for part in table_files.parts(asset, bundle):
        for cells, rows in table_files.batches(part, plan):
            columns = [(Column(str(n), one.family), cells[one.name]) for n, one in enumerate(plan.columns)]
            refers = np.ones(rows, np.bool_)
            for _, one in columns:
                valid = np.asarray(one.values.is_valid().to_numpy(zero_copy_only=False)).copy()
                valid[list(one.exceptions)] = True
                refers &= valid
            yield fingerprint.row_hashes("references", columns), refers, cells
