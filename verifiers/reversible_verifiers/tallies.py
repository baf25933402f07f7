"""How many values, what sum, smallest and largest: what the source's engine said of a column, from the files?"""

from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reversible.fingerprint import Cells

_HALF = 32  # bits, of 64
_DIGITS = 38  # of a 128-bit decimal: pyarrow's own sum holds so many, and beyond them wraps around
_EXACT = Context(prec=200)


class Tally:
    """Count, sum, smallest and largest of what the source's engine summed, in exact arithmetic."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._present = 0
        self._sum: Any = None
        self._low: Any = None
        self._high: Any = None

    def add(self, cells: Cells) -> None:
        values = cells.values
        self._present += len(values) - values.null_count + len(cells.exceptions)
        measured = _measured(values, self._family)
        if measured.null_count:
            measured = pc.drop_null(measured)
        if not len(measured):
            return
        total, ends = _sum(measured), pc.min_max(measured).as_py()
        self._sum = total if self._sum is None else _added(self._sum, total)
        self._low = ends["min"] if self._low is None else min(self._low, ends["min"])
        self._high = ends["max"] if self._high is None else max(self._high, ends["max"])

    def figures(self) -> dict[str, str | None]:
        return {
            "present": plain(self._present), "sum": plain(self._sum), "min": plain(self._low),
            "max": plain(self._high),
        }  # fmt: skip


def plain(figure: Any) -> str | None:
    """A figure as text without an exponent or trailing zeros: "12.50" and Decimal("12.5") are one."""
    if figure is None:
        return None
    text = format(figure, "f") if hasattr(figure, "as_tuple") else str(figure)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _added(left: Any, right: Any) -> Any:
    """Python's own addition of decimals rounds to 28 digits."""
    return _EXACT.add(left, right) if isinstance(left, Decimal) else left + right


def _sum(measured: pa.Array) -> Any:
    """The exact sum of integers or decimals without NULL; int64 alone would overflow."""
    if not pa.types.is_integer(measured.type):
        fits = measured.type.precision + len(str(len(measured))) <= _DIGITS
        return pc.sum(measured if fits else measured.cast(pa.decimal256(76, measured.type.scale))).as_py()
    whole = measured.cast(pa.int64()).to_numpy()
    return (int((whole >> _HALF).sum()) << _HALF) + int((whole & ((1 << _HALF) - 1)).sum())


def _measured(values: pa.Array, family: str) -> pa.Array:
    """What the engine summed: see `postgres_totals` of the exporter and docs/bundle-format.md."""
    if pa.types.is_dictionary(values.type):
        return _measured(values.dictionary, family).take(values.indices)
    if family.startswith("decimal:"):
        return values
    if family == "int":
        return values.cast(pa.int64())
    if family == "date":
        return values.cast(pa.date32()).cast(pa.int32())
    if family == "time":
        return values.cast(pa.time64("us")).cast(pa.int64())
    if family in ("timestamp", "timestamptz"):
        return values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64())
    if family == "bool":
        return values.cast(pa.int8())
    if family == "float":
        return pc.is_nan(values).cast(pa.int8())
    return pc.binary_length(values.cast(pa.large_binary()))
