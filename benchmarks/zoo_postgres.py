"""Which of the zoo's pairs can PostgreSQL hold, for a tool that compares nothing but tables of a database?"""

from collections.abc import Iterable, Iterator
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql

from conformance.zoo import Pair

_TYPES: dict[str, LiteralString] = {
    "int16": "smallint", "int32": "integer", "int64": "bigint", "float": "real", "double": "double precision",
    "bool": "boolean", "string": "text", "binary": "bytea", "date32[day]": "date", "time64[us]": "time",
    "timestamp[us]": "timestamp", "timestamp[us, tz=UTC]": "timestamptz",
}  # fmt: skip


def loaded(connection: "psycopg.Connection[Any]", pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Make the tables "left"."NAME" and "right"."NAME" of each pair that it can hold exactly, and yield these pairs.

    Left out: a type that PostgreSQL does not have or that it would make another one's equal (a text in 64-bit offsets,
    nanoseconds), nested types, a NUL in a text.

    Args:
        connection: To an empty database; in autocommit mode.
        pairs: From tests/conformance/zoo.py.
    """
    for side in ("left", "right"):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(side)))
    for pair in pairs:
        if all(_type(one.type) for table in (pair.left, pair.right) for one in table.schema):
            try:
                with connection.transaction():
                    for side in ("left", "right"):
                        _load(connection, sql.Identifier(side, pair.name), getattr(pair, side))
            except psycopg.DataError:
                continue
            yield pair


def _type(kind: pa.DataType) -> sql.SQL | None:
    if pa.types.is_decimal(kind):
        return sql.SQL(f"numeric({kind.precision},{kind.scale})")
    return sql.SQL(_TYPES[str(kind)]) if str(kind) in _TYPES else None


def _load(connection: "psycopg.Connection[Any]", name: sql.Identifier, table: pa.Table) -> None:
    columns = [sql.SQL("{} {}").format(sql.Identifier(one.name), _type(one.type)) for one in table.schema]
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(columns)))
    insert = sql.SQL("INSERT INTO {} VALUES ({})").format(
        name, sql.SQL(", ").join([sql.Placeholder()] * table.num_columns)
    )
    with connection.cursor() as cursor:
        cursor.executemany(insert, list(zip(*(one.to_pylist() for one in table.columns), strict=True)))
