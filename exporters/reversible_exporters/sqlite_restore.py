"""How does an SQLite database stand up again from a bundle, each value in its own storage class?

A new file: settings and tables by schema.sql, then the rows, then indexes, views and triggers, so that no trigger
fires and no index slows the rows. Then every table is read back and compared with the bundle, value by value.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reversible import fingerprint
from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError, DestinationError, UsageError
from reversible.fingerprint import Cells, Plan, TableFingerprint
from reversible_exporters.restored_values import NotEmptyError
from reversible_exporters.sqlite_session import CODECS, Undecodable, decoded, quoted
from reversible_exporters.sqlite_values import CLASSES, Column, in_codec, raw, typed, unspelled

_ROWS = 1 << 14


@dataclass(frozen=True)
class Restored:
    """What stands in the new file."""

    tables: int
    rows: int
    limitations: tuple[str, ...]  # what database.json says that the bundle does not hold


def restore(bundle: Bundle, database: Asset, target: Path, tables: Sequence[Asset] | None = None) -> Restored:
    """Write the database to `target`, which must not exist; nothing is left there when it fails.

    Only `tables` get their rows; all of the database's when it is None.

    Raises:
        NotEmptyError: something stands there already.
        BundleError: the bundle does not hold the database whole.
        DestinationError: SQLite refused, or gave a value back otherwise than the bundle has it.
    """
    if target.exists():
        raise NotEmptyError(f"{target} exists already", hint="choose another path, or move it away")
    described = bundle.document(database, "database.json")
    if described.get("source_type") != "sqlite":
        raise UsageError(f"{database.name} was not an SQLite database: {described.get('source_type')}")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        if tables is None:
            tables = [one for one in bundle.assets if one.source == database.source and one.kind is Kind.TABLE]
        found = _write(bundle, database, tables, described, partial)
        partial.replace(target)
    except sqlite3.Error as error:
        raise DestinationError(f"{target}: SQLite says: {error}") from error
    finally:
        for name in (partial, *(partial.with_name(f"{partial.name}-{end}") for end in ("journal", "wal", "shm"))):
            name.unlink(missing_ok=True)
    return found


def _write(
    bundle: Bundle, database: Asset, tables: Sequence[Asset], described: Mapping[str, Any], path: Path
) -> Restored:
    script = (bundle.folder(database) / "schema.sql").read_bytes().decode()
    commands = list(statements(script))
    if strange := [one for one in commands if not one.startswith(("PRAGMA ", "CREATE "))]:
        raise BundleError(f"{database.id}: schema.sql does more than create: {strange[0][:60]}")
    first = ("PRAGMA ", "CREATE TABLE ", "CREATE VIRTUAL TABLE ")
    rows = 0
    with closing(_connect(path)) as connection:
        for command in (one for one in commands if one.startswith(first)):
            connection.execute(command)
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")  # the source's rows, whether or not they pass
        for table in tables:
            connection.execute("BEGIN")
            rows += _fill(connection, bundle, table, commands)
            connection.execute("COMMIT")
        for one in described["sequence_values"]:
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (one["name"],))
            connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (one["name"], one["last_value"])
            )
    with closing(_connect(path)) as connection:  # again: a virtual table's module must not remember an empty content
        for command in (one for one in commands if not one.startswith(first)):
            connection.execute(command)
        connection.execute("PRAGMA journal_mode = DELETE")
        for table in tables:
            if wrong := _differs(connection, bundle, table):
                raise DestinationError(f"{path.name}: table {table.name} is not what the bundle holds: {wrong}")
    return Restored(len(tables), rows, tuple(described["limitations"]))


def statements(script: str) -> Iterator[str]:
    """The script's statements, as SQLite's own tokenizer cuts them.

    Raises:
        BundleError: it ends inside one.
    """
    begin = at = 0
    while (at := script.find(";", at) + 1) > 0:
        if sqlite3.complete_statement(script[begin:at]):
            yield script[begin:at].strip()
            begin = at
    if script[begin:].strip():
        raise BundleError("schema.sql ends inside a statement")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = decoded
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


# --- rows -------------------------------------------------------------------------------------------------------


def _fill(connection: sqlite3.Connection, bundle: Bundle, asset: Asset, commands: Sequence[str]) -> int:
    document = bundle.document(asset, "table.json")
    rows = _insert(connection, bundle, asset, document)
    mixed = any(sum(one["classes"][kind] > 0 for kind in CLASSES) > 1 for one in document["columns"])
    if mixed and _differs(connection, bundle, asset):
        _insert_untyped(connection, bundle, asset, document)
    return rows


def _insert(connection: sqlite3.Connection, bundle: Bundle, asset: Asset, document: Mapping[str, Any]) -> int:
    table = quoted(asset.name)
    connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a virtual table fills its shadow tables when it is made
    columns = [one for one in document["columns"] if not one["generated"]]
    names = [one["name"] for one in columns]
    into = f"INSERT INTO {table} ({', '.join(map(quoted, names))}) VALUES "  # noqa: S608
    plain = f"{into}({', '.join('?' * len(names))})"
    count = 0
    for rows in _rows(bundle, asset, names):
        odd = [row for row in rows if any(isinstance(cell, Undecodable) for cell in row)]
        connection.executemany(plain, (row for row in rows if row not in odd) if odd else rows)
        for row in odd:
            # A literal: SQLite takes a bound blob for UTF-8 when it becomes text, whatever the file's encoding is.
            marks = (f"CAST(x'{cell.hex()}' AS TEXT)" if isinstance(cell, Undecodable) else "?" for cell in row)
            bound = [cell for cell in row if not isinstance(cell, Undecodable)]
            connection.execute(f"{into}({', '.join(marks)})", bound)
        count += len(rows)
    return count


def _insert_untyped(connection: sqlite3.Connection, bundle: Bundle, asset: Asset, document: Mapping[str, Any]) -> None:
    """Fill a table whose rows contradict their columns' affinity, which only `writable_schema` can have made.

    The same columns without types take the rows as they are; then sqlite_schema gets the source's own definition.
    Possible where the table is its rows only: with an index of its own or generated columns it is not.
    """
    table = quoted(asset.name)
    own = connection.execute("SELECT 1 FROM pragma_index_list(?)", (asset.name,)).fetchall()
    generated = any(one["generated"] for one in document["columns"])
    definition = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (asset.name,)
    ).fetchone()[0]
    if own or generated or document["without_rowid"] or "autoincrement" in definition.lower():
        return  # `_differs` then names what is not as it was
    stored = [one["name"] for one in document["columns"] if one["name"] != document["rowid"]]
    alias = set(document["primary_key"])
    fields = [f"{quoted(name)}{' INTEGER PRIMARY KEY' if name in alias else ''}" for name in stored]
    connection.execute(f"DROP TABLE {table}")
    connection.execute(f"CREATE TABLE {table} ({', '.join(fields)})")
    _insert(connection, bundle, asset, document)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (definition, asset.name))
    connection.execute("PRAGMA writable_schema = RESET")


def _rows(bundle: Bundle, asset: Asset, names: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
    """The bundle's rows, exceptions put back.

    Raises:
        BundleError: a part cannot be read.
    """
    for part in bundle.parts(asset, "part-?????.parquet"):
        odd = _exceptions(part)
        start = 0
        for batch in pq.ParquetFile(part).iter_batches(_ROWS):
            columns = [batch.column(batch.schema.get_field_index(name)).to_pylist() for name in names]
            for name, values in zip(names, columns, strict=True):
                for row, value in odd.get(name, {}).items():
                    if start <= row < start + batch.num_rows:
                        values[row - start] = value
            yield list(zip(*columns, strict=True))
            start += batch.num_rows


def _exceptions(part: Path) -> dict[str, dict[int, Any]]:
    path = part.with_name(part.name.replace(".parquet", ".exceptions.parquet"))
    found: dict[str, dict[int, Any]] = {}
    if path.exists():
        try:
            for one in pq.read_table(path).to_pylist():
                found.setdefault(one["column"], {})[one["row"]] = unspelled(one["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path.name} cannot be read: {error}") from error
    return found


# --- reading back -----------------------------------------------------------------------------------------------


def _differs(connection: sqlite3.Connection, bundle: Bundle, asset: Asset) -> str:
    """What of the table is not as the bundle has it; "" when every value is, class and all."""
    document = bundle.document(asset, "table.json")
    columns = [
        Column(name=one["name"], source_type=one["source_type"], nullable=True, stored=one["storage_class"])
        for one in document["columns"]
    ]
    declared = tuple(fingerprint.Column(one.name, one.family) for one in columns)
    plan = Plan(secrets.token_hex(16), declared, (), fingerprint.buckets_for(document["rows"]))
    kept = _sum(plan, columns, _rows(bundle, asset, [one.name for one in columns]))
    there = _sum(plan, columns, _stored(connection, asset.name, columns))
    found = fingerprint.compare(kept, there)
    if found.none:
        return ""
    return f"{found.missing} rows missing, {found.extra} extra, columns {', '.join(found.columns_overall[:8])}"


def _stored(connection: sqlite3.Connection, name: str, columns: Sequence[Column]) -> Iterator[list[tuple[Any, ...]]]:
    """The new file's rows, text as the bytes that lie there."""
    codec = CODECS[connection.execute("PRAGMA encoding").fetchone()[0]]
    fields = ", ".join(raw(one.quoted) for one in columns)
    cursor = connection.execute(f"SELECT {fields} FROM {quoted(name)}")  # noqa: S608 - quoted names
    while rows := cursor.fetchmany(_ROWS):
        yield [
            tuple(in_codec(row[n + 1], codec) if row[n] == "text" else row[n + 1] for n in range(0, len(row), 2))
            for row in rows
        ]


def _sum(plan: Plan, columns: Sequence[Column], batches: Iterator[list[tuple[Any, ...]]]) -> TableFingerprint:
    total = fingerprint.Accumulator(plan)
    for rows in batches:
        cells = {}
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            array, odd = typed(values, column)
            cells[column.name] = Cells(array, {row: text for row, _, text in odd})
        total.add(cells, len(rows))
    return total.result()
