"""Which totals does the server's own engine compute over a column?

They need none of our hashing: a report can show them to an accountant, and a second tool can redo them.
"""

from collections.abc import Sequence
from typing import Any

from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_types import Column, form

_PER_QUERY = 250  # columns; a select list ends at 1,664 fields, and each column takes up to four
_MICROSECONDS = "(extract(epoch FROM {c}) * 1000000)::bigint"
_MEASURE = {  # what is summed: an integer or decimal of each value
    "int": ("value", "{c}"),
    "decimal": ("value", "{c}"),
    "date": ("days since 1970-01-01", "({c} - date '1970-01-01')"),
    "time": ("microseconds", _MICROSECONDS),
    "timestamp": ("microseconds since 1970-01-01", _MICROSECONDS),
    "timestamptz": ("microseconds since 1970-01-01 UTC", _MICROSECONDS),
    "bool": ("true", "{c}::int"),
    "float": ("NaN", "({c} = 'NaN')::int"),
    "binary": ("bytes", "octet_length({c})"),
}


def totals(session: Session, source: str, columns: Sequence[Column]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The rows, and per column: values present, and of what `of` names the sum, smallest and largest, as text.

    Sum, smallest and largest leave exceptions out; NULL means that there was no value.
    """
    rows = 0
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, max(1, len(columns)), _PER_QUERY):
        chosen = columns[start : start + _PER_QUERY]
        fields = ["count(*)"]
        for column in chosen:
            _, measure = _measure(session, column)
            odd = column.stored.exceptional.format(c=column.quoted)
            kept = f" FILTER (WHERE NOT ({odd}))" if odd else ""
            fields += [f"count({column.quoted})"]
            fields += [f"{name}({measure}){kept}::text" for name in ("sum", "min", "max")]
        values = session.rows(f"SELECT {', '.join(fields)} FROM {source}")[0]  # noqa: S608 - quoted names
        rows = values[0]
        for n, column in enumerate(chosen):
            present, total, low, high = values[1 + 4 * n : 5 + 4 * n]
            of, _ = _measure(session, column)
            found[column.name] = {"present": present, "of": of, "sum": total, "min": low, "max": high}
    return rows, found


def _measure(session: Session, column: Column) -> tuple[str, str]:
    stored = column.stored
    if column.base == "oid":  # PostgreSQL sums no oid
        return "value", f"{column.quoted}::bigint"
    known = _MEASURE.get(stored.family.partition(":")[0])
    if known is not None:
        return known[0], known[1].format(c=column.quoted)
    text = column.quoted if column.base in ("text", "varchar") else form(column.quoted)
    if session.encoding != "UTF8":
        return "bytes in UTF-8", f"octet_length(convert_to({text}, 'UTF8'))"
    return "bytes in UTF-8", f"octet_length({text})"
