"""Which totals does the server's own engine compute over a column?

They need none of our hashing: a report can show them to an accountant, and a second tool can redo them.
"""

from collections.abc import Sequence
from typing import Any

from reversible_exporters.mysql_session import Session
from reversible_exporters.mysql_types import Column

_PER_QUERY = 200  # columns; each takes four fields
_MEASURE = {  # what is summed: an integer or decimal of each value
    "int": ("value", "({c} + 0)"),
    "decimal": ("value", "({c} + 0)"),
    "date": ("days since 1970-01-01", "(TO_DAYS({c}) - 719528)"),
    "time": ("microseconds", "(TIME_TO_SEC({c}) DIV 1 * 1000000 + MICROSECOND({c}))"),
    "timestamp": ("microseconds since 1970-01-01", "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {c})"),
    "timestamptz": ("microseconds since 1970-01-01 UTC", "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {c})"),
    "float": ("NaN", "({c} <> {c})"),  # MySQL stores none: the sum must be 0 there as here
    "binary": ("bytes", "OCTET_LENGTH({c})"),
    "text": ("bytes in UTF-8", "OCTET_LENGTH(CONVERT({c} USING utf8mb4))"),
}


def totals(session: Session, source: str, columns: Sequence[Column]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The rows, and per column: values present, and of what `of` names the sum, smallest and largest, as text.

    Sum, smallest and largest leave exceptions out; NULL means that there was no value.
    """
    rows = 0
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, max(1, len(columns)), _PER_QUERY):
        chosen = columns[start : start + _PER_QUERY]
        fields = ["COUNT(*)"]
        for column in chosen:
            measure = column.sql(_measure(column)[1])
            if column.stored.exceptional:
                measure = f"CASE WHEN {column.sql(column.stored.exceptional)} THEN NULL ELSE {measure} END"
            fields.append(f"COUNT({column.quoted})")
            fields += [f"{name}({measure})" for name in ("SUM", "MIN", "MAX")]
        values = session.rows(f"SELECT {', '.join(fields)} FROM {source}")[0]  # noqa: S608
        rows = int(values[0])
        for n, column in enumerate(chosen):
            present, *figures = values[1 + 4 * n : 5 + 4 * n]
            total, low, high = (None if figure is None else _plain(figure) for figure in figures)
            found[column.name] = {
                "present": int(present), "of": _measure(column)[0], "sum": total, "min": low, "max": high
            }  # fmt: skip
    return rows, found


def _measure(column: Column) -> tuple[str, str]:
    return _MEASURE[column.stored.family.partition(":")[0]]


def _plain(figure: Any) -> str:
    """A figure as digits: SUM gives a decimal, MAX a decimal or an integer."""
    return format(figure, "f") if hasattr(figure, "as_tuple") else str(figure)
