"""Which Parquet type holds a MySQL or MariaDB column exactly, and how does one get there?

A column is typed only where every value reads back identical; all else stays the server's own text. A value that
the typed column cannot hold (a zero date, a time of 838 hours) is an *exception*: NULL in the column, its text in a
sidecar. docs/type-mapping.md, section "MySQL and MariaDB", shows this table.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from reversible_exporters.mysql_session import quote

_MAX_PRECISION = 38  # of decimal128
_BIT_64 = 64  # the one width that int64 does not hold
# Character sets whose every stored value has one form in utf8mb4 and comes back from it: all 256 bytes of latin1
# are tested. Values of any other are sent to utf8mb4 and back by the server, and compared.
_EXACT_CHARSETS = frozenset({"utf8mb4", "utf8mb3", "utf8", "ascii", "latin1"})
_SIGNED = {"tinyint": pa.int8(), "smallint": pa.int16(), "mediumint": pa.int32(), "int": pa.int32()}
_UNSIGNED = {"tinyint": pa.int16(), "smallint": pa.int32(), "mediumint": pa.int32(), "int": pa.int64()}
_BINARY = frozenset(
    {
        "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector", "geometry", "point",
        "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
        "geomcollection",
    }
)  # fmt: skip
_ODD_DATE = (
    "COALESCE(YEAR({c}) = 0 OR MONTH({c}) = 0 OR DAYOFMONTH({c}) = 0"
    " OR DAYOFMONTH({c}) > DAYOFMONTH(LAST_DAY({c})), {c} IS NOT NULL)"
)
_SEND_BACK = (
    "CASE WHEN CAST(CONVERT(CONVERT({c} USING utf8mb4) USING %s) AS BINARY) = CAST({c} AS BINARY) THEN NULL"
    " ELSE CAST({c} AS BINARY) END"
)
# MySQL's own JSON type keeps values that JSON has no text for: a decimal, a date, bytes. Where the text, read again, is
# another value, the sidecar holds the text and, in a second line, the path, type and text of each such value: the first
# line never holds a line feed. A signed and an unsigned integer are one value.
_JSON_AGAIN = "CAST(CAST({c} AS CHAR) AS JSON)"
_JSON_TEXT = (
    f"{{c}} = {_JSON_AGAIN} AND JSON_STORAGE_SIZE({{c}}) = JSON_STORAGE_SIZE({_JSON_AGAIN})"
    f" AND CAST(CAST({{c}} AS CHAR) AS BINARY) = CAST(CAST({_JSON_AGAIN} AS CHAR) AS BINARY)"
)
_JSON_PLAIN = "('OBJECT', 'ARRAY', 'STRING', 'INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'BOOLEAN', 'NULL')"
_JSON_TYPED = f"""CASE WHEN {_JSON_TEXT} THEN NULL ELSE (
 WITH RECURSIVE part (place, held) AS (
  SELECT CAST('$' AS CHAR(20000) CHARACTER SET utf8mb4), {{c}}
  UNION ALL SELECT CONCAT(place, '.', JSON_QUOTE(name)), JSON_EXTRACT(held, CONCAT('$.', JSON_QUOTE(name)))
   FROM part, JSON_TABLE(JSON_KEYS(held), '$[*]' COLUMNS (name LONGTEXT PATH '$')) one WHERE JSON_TYPE(held) = 'OBJECT'
  UNION ALL SELECT CONCAT(place, '[', n - 1, ']'), JSON_EXTRACT(held, CONCAT('$[', n - 1, ']'))
   FROM part, JSON_TABLE(held, '$[*]' COLUMNS (n FOR ORDINALITY)) one WHERE JSON_TYPE(held) = 'ARRAY')
 SELECT CONCAT(CAST({{c}} AS CHAR), '\n[', GROUP_CONCAT(JSON_ARRAY(place, JSON_TYPE(held), JSON_UNQUOTE(held))
   ORDER BY CAST(place AS BINARY) SEPARATOR ', '), ']')
 FROM part WHERE JSON_TYPE(held) NOT IN {_JSON_PLAIN}) END"""  # noqa: S608 - our own words


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How a column is stored, read, and read again.

    Attributes:
        family: The fingerprint's family.
        arrow: The Parquet column's type.
        text: How the text protocol's field becomes the Arrow type; see `mysql_text`.
        binary: How the binary protocol's field becomes it; see `mysql_binary`.
        select: SQL over {c} that the export asks for.
        again: SQL over {c} that the witness asks for.
        odd: SQL over {c}: NULL, or what stands for a value that `select` does not tell; "" when it tells them all.
        odd_is_bytes: Whether that is the value's own bytes, written as 0x... in the sidecar.
        exceptional: SQL condition on {c} for values that the type cannot hold; "" when it holds them all.
    """

    family: str
    arrow: pa.DataType
    text: str
    binary: str
    select: str = "{c}"
    again: str = "{c}"
    odd: str = ""
    odd_is_bytes: bool = False
    exceptional: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as information_schema describes it."""

    name: str
    source_type: str  # COLUMN_TYPE: "int(10) unsigned"
    base: str  # DATA_TYPE, lower case: "int"
    charset: str | None = None
    collation: str | None = None
    precision: int = 0
    scale: int | None = None
    fraction: int = 0  # digits of a second
    nullable: bool = True
    default: str | None = None
    comment: str | None = None
    identity: str | None = None
    generated: str | None = None
    invisible: bool = False

    @property
    def unsigned(self) -> bool:
        return "unsigned" in self.source_type.rpartition(")")[2] or self.source_type.endswith("unsigned")

    @property
    def quoted(self) -> str:
        return quote(self.name)

    @cached_property
    def stored(self) -> Stored:
        return _stored(self)

    def sql(self, template: str) -> str:
        """A template of `Stored` over this column; names may hold braces."""
        return template.replace("{c}", self.quoted)

    def field(self) -> pa.Field:
        """The Parquet column; it is always nullable, since an exception leaves a NULL."""
        metadata = {"source_type": self.source_type, "family": self.stored.family}
        if self.charset:
            metadata["charset"] = self.charset
        return pa.field(self.name, self.stored.arrow, metadata=metadata)


def _stored(column: Column) -> Stored:
    base = column.base
    if base in _SIGNED:
        return Stored(family="int", arrow=(_UNSIGNED if column.unsigned else _SIGNED)[base], text="int", binary="int")
    if base == "bigint" and not column.unsigned:
        return Stored(family="int", arrow=pa.int64(), text="int", binary="int")
    if base == "bigint":  # uint64 is not a type of Delta or Iceberg
        return Stored(family="decimal:0", arrow=pa.decimal128(20, 0), text="decimal", binary="int")
    if base == "year":
        return Stored(family="int", arrow=pa.int16(), text="int", binary="int")
    if base == "bit":
        wide = column.precision >= _BIT_64
        return Stored(
            family="decimal:0" if wide else "int", arrow=pa.decimal128(20, 0) if wide else pa.int64(),
            text="decimal" if wide else "int", binary="bit", select="{c} + 0",
        )  # fmt: skip
    if base == "decimal" and column.precision <= _MAX_PRECISION:
        scale = column.scale or 0
        return Stored(
            family=f"decimal:{scale}", arrow=pa.decimal128(column.precision, scale), text="decimal", binary="decimal"
        )
    if base in ("float", "double"):  # a FLOAT's own text has six digits; the binary protocol has all the bits
        cast = base == "float" or column.scale is not None
        return Stored(
            family="float", arrow=pa.float32() if base == "float" else pa.float64(), text="float", binary=base,
            select="CAST({c} AS DOUBLE)" if cast else "{c}",
        )  # fmt: skip
    return _stored_moment(column) or _stored_text(column)


def _stored_moment(column: Column) -> Stored | None:
    base = column.base
    if base == "date":
        return Stored(family="date", arrow=pa.date32(), text="date", binary="moment", exceptional=_ODD_DATE)
    if base == "datetime":
        return Stored(
            family="timestamp", arrow=pa.timestamp("us"), text="moment", binary="moment", exceptional=_ODD_DATE
        )  # fmt: skip
    if base == "timestamp":
        return Stored(
            family="timestamptz", arrow=pa.timestamp("us", "UTC"), text="moment", binary="moment",
            exceptional=_ODD_DATE,
        )  # fmt: skip
    if base == "time":
        return Stored(
            family="time", arrow=pa.time64("us"), text="time", binary="time",
            exceptional="NOT ({c} >= TIME '00:00:00' AND {c} < TIME '24:00:00')",
        )  # fmt: skip
    return None


def _stored_text(column: Column) -> Stored:
    base = column.base
    if base in _BINARY:
        return Stored(family="binary", arrow=pa.binary(), text="binary", binary="bytes")
    odd, exceptional, as_bytes = "", "", False
    if base == "enum":  # the error value: index 0, which reads like a member ''
        odd, exceptional = "CASE WHEN {c} + 0 = 0 THEN '0' END", "{c} + 0 = 0"
    elif base == "set" and (empty := _empty_members(column.source_type)):  # a member '' is written as nothing at all
        exceptional = f"(({{c}} + 0) & {empty}) <> 0"
        odd = f"CASE WHEN {exceptional} THEN CAST({{c}} + 0 AS CHAR) END"
    elif base == "json":  # MySQL's; MariaDB's is a longtext
        odd, exceptional = _JSON_TYPED, f"({_JSON_TYPED}) IS NOT NULL"
    elif column.charset and column.charset not in _EXACT_CHARSETS:
        odd, as_bytes = _SEND_BACK % column.charset, True
        exceptional = f"({odd}) IS NOT NULL"
    return Stored(
        family="text", arrow=pa.string(), text="text", binary="text", odd=odd, odd_is_bytes=as_bytes,
        exceptional=exceptional,
    )  # fmt: skip


def _empty_members(source_type: str) -> int:
    """The bits of a SET's members that are empty."""
    members = re.findall(r"'((?:[^']|'')*)'", source_type)
    return sum(1 << n for n, member in enumerate(members) if not member)
