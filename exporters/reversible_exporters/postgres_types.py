"""Which Parquet type holds a PostgreSQL column exactly, and how does one get there?

A column is typed only where every value reads back identical; all else stays the server's own text. A value that
the typed column cannot hold (an infinite date, NaN in a decimal) is an *exception*: NULL in the column, its text in
a sidecar.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

_NUMERIC_HEADER = 4  # bytes that atttypmod counts before precision and scale: src/include/utils/numeric.h
_MAX_PRECISION = 38  # of decimal128


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as the catalogs describe it. `base` is the type below any domains; "" when it is not a built-in."""

    name: str
    source_type: str  # as DDL writes it: "numeric(12,2)"
    base: str
    typmod: int
    is_enum: bool = False
    nullable: bool = True
    default: str | None = None
    collation: str | None = None
    comment: str | None = None
    identity: str | None = None
    generated: str | None = None
    domain: str | None = None

    @property
    def stored(self) -> "Stored":
        return _stored(self.base, self.typmod, is_enum=self.is_enum)

    @property
    def quoted(self) -> str:
        return '"' + self.name.replace('"', '""') + '"'

    def field(self) -> pa.Field:
        """The Parquet column; it is always nullable, since an exception leaves a NULL."""
        stored = self.stored
        return pa.field(
            self.name, stored.arrow, metadata={"source_type": self.source_type, "family": stored.family}
        )  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """How a column is stored, read, and read again.

    Attributes:
        family: The fingerprint's family.
        arrow: The Parquet column's type.
        csv: How the CSV text becomes the Arrow type; see `postgres_csv`.
        binary: How COPY's binary field becomes the Arrow type; see `postgres_binary`. "form": the field is the
            output function's text, sent as binary text.
        exceptional: SQL condition on {c} for values that the type cannot hold; "" when it holds them all.
    """

    family: str
    arrow: pa.DataType
    csv: str
    binary: str
    exceptional: str = ""
    settings: Mapping[str, int] = field(default_factory=dict)


_TEXT = Stored("text", pa.string(), "text", "text")
_FORM = Stored("text", pa.string(), "text", "form")
_YEARS = "NOT ({{c}} >= '0001-01-01{0}' AND {{c}} <= '9999-12-31{1}')"

_EXACT = {
    "bool": Stored("bool", pa.bool_(), "direct", "bool"),
    "int2": Stored("int", pa.int16(), "direct", "int2"),
    "int4": Stored("int", pa.int32(), "direct", "int4"),
    "int8": Stored("int", pa.int64(), "direct", "int8"),
    "oid": Stored("int", pa.int64(), "direct", "oid"),
    "float4": Stored("float", pa.float32(), "direct", "float4"),
    "float8": Stored("float", pa.float64(), "direct", "float8"),
    "date": Stored("date", pa.date32(), "date", "date", _YEARS.format("", "")),
    "time": Stored("time", pa.time64("us"), "time", "time", "{c} = '24:00'"),
    "timestamp": Stored(
        "timestamp", pa.timestamp("us"), "timestamp", "timestamp", _YEARS.format(" 00:00", " 23:59:59.999999")
    ),
    "timestamptz": Stored(
        "timestamptz",
        pa.timestamp("us", "UTC"),
        "timestamptz",
        "timestamptz",
        _YEARS.format(" 00:00+00", " 23:59:59.999999+00"),
    ),
    "text": _TEXT,
    "varchar": _TEXT,
    "bpchar": _TEXT,
    "name": _TEXT,
    "json": _TEXT,
    "uuid": Stored("text", pa.string(), "text", "uuid"),
    "bytea": Stored("binary", pa.binary(), "bytea", "bytea"),
}


def _stored(base: str, typmod: int, *, is_enum: bool) -> Stored:
    if base == "numeric" and typmod >= _NUMERIC_HEADER:
        precision = (typmod - _NUMERIC_HEADER) >> 16 & 0xFFFF
        scale = (typmod - _NUMERIC_HEADER & 0x7FF ^ 0x400) - 0x400  # eleven bits, signed since PostgreSQL 15
        if 0 <= scale <= precision <= _MAX_PRECISION:
            # NaN alone: a precision admits no infinity, and PostgreSQL 13 does not know the word.
            return Stored(
                f"decimal:{scale}", pa.decimal128(precision, scale), "decimal", "numeric",
                "{c} = 'NaN'", {"precision": precision, "scale": scale},
            )  # fmt: skip
    if is_enum:
        return _TEXT
    return _EXACT.get(base, _FORM)


def form(column: str) -> str:
    """SQL for what the type's output function writes. `::text` is another thing for inet, bpchar and bool."""
    return f"CASE WHEN {column} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', {column}) END"
