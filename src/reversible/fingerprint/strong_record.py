"""Which row does a person mean who writes it down as JSON? See docs/fingerprint-strong.md, section 5."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from reversible.fingerprint import Cells, Column
from reversible.fingerprint.strong_bytes import record

_MOMENTS = {
    "date": (pa.date32(),),
    "time": (pa.time64("us"), pa.time64("ns")),
    "timestamp": (pa.timestamp("us"), pa.timestamp("ns")),
    "timestamptz": (pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")),
}


def record_of(columns: Sequence[Column], document: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a row that maps every column to its value, as JSON has it.

    Integers and decimals are numbers or digits as text; floats numbers or "NaN", "Infinity"; dates and times ISO 8601
    text; bytes hex. NULL is null. {"exception": "infinity"} is what the source wrote where the typed column holds no
    such value.

    Raises:
        ValueError: a column is missing or unknown, or a value is not of its family.
    """
    names = {column.name for column in columns}
    if set(document) != names:
        listed = ", ".join(sorted(set(document) ^ names))
        raise ValueError(f"the record must name every column once, and no other: {listed}")
    return record(columns, {column.name: cell_of(column, document[column.name]) for column in columns})


def cell_of(column: Column, value: Any) -> Cells:
    """The cell that one value of such a record makes.

    Raises:
        ValueError: the value is not of the column's family.
    """
    try:
        if isinstance(value, Mapping) and set(value) == {"exception"} and isinstance(value["exception"], str):
            return Cells(pa.nulls(1), {0: value["exception"]})
        return Cells(pa.nulls(1) if value is None else _array(column.family, value))
    except (ValueError, TypeError, InvalidOperation, pa.ArrowException) as error:
        raise ValueError(f"{column.name}: {str(value)[:80]!r} is not a value of the family {column.family}") from error


def _array(family: str, value: Any) -> pa.Array:
    if family == "bool" and isinstance(value, bool):
        return pa.array([value])
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise TypeError(f"{type(value).__name__} says nothing exact of the family {family}")
    if family == "int" or family.startswith("decimal:"):
        scale = int(family[8:]) if family != "int" else 0
        return pa.array([Decimal(value)], pa.decimal256(76, scale))
    if family == "float":
        return pa.array([float(value)])
    if not isinstance(value, str):
        raise TypeError(f"a {family} is written as text")
    if family == "text":
        return pa.array([value])
    if family == "binary":
        return pa.array([bytes.fromhex(value.removeprefix("\\x"))])
    return _moment(family, value)


def _moment(family: str, text: str) -> pa.Array:
    """Microseconds where they say all, else nanoseconds."""
    if family not in _MOMENTS:
        raise ValueError(f"a record with a column of the family {family} cannot be written down as JSON")
    *others, last = _MOMENTS[family]
    for one in others:
        try:
            return pa.array([text]).cast(one)
        except pa.ArrowInvalid:  # more digits than microseconds hold, or nonsense: the last type tells which
            continue
    return pa.array([text]).cast(last)
