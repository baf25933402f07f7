"""What does SQLite itself say of each value, when it must spell it instead of handing it over?

The engine writes every value as ASCII: text and blobs in hexadecimal, integers in digits, and a real as two integers
and an exponent that its own arithmetic takes out of it (every step is a multiplication by a power of two or exact by
Sterbenz's lemma). `quote()` would not do: before 3.42 it may be one unit off in the last place, and it drops the sign
of -0.0. Our own code reads that back; no value passes through the driver's conversions, but for zeros.
"""

import math
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reversible.fingerprint import Cells
from reversible_exporters.sqlite_session import Session
from reversible_exporters.sqlite_values import ARROW, Column, in_codec, raw, rows_at_once, spelled
from reversible_exporters.table_sample import Threshold

_STEP = 50  # bits between two rungs: what is left above the point fits SQLite's 64-bit integer
_LOWEST, _HIGHEST = -22, 20  # 2^(50 * -22) is below the smallest double, 2^(50 * 21) above the largest
_BITS = 52  # below the point, of a double between 1 and 2^50
_SAFE = 1000  # 2^1000 is a double, 2^1100 is not: the lowest rungs multiply twice


def _parameters() -> list[float]:
    found = [math.inf, -math.inf, 2.0**_BITS]
    for rung in range(_HIGHEST, _LOWEST - 1, -1):
        up = -_STEP * rung
        found += [math.ldexp(1.0, max(_STEP * rung, -1074)), math.ldexp(1.0, min(up, _SAFE)),
                  math.ldexp(1.0, max(0, up - _SAFE))]  # fmt: skip
    return found


PARAMETERS = _parameters()


def spelling(column: Column, codec: str) -> str:
    """SQL for one value of the column as text; NULL stays NULL, and a zero of class real stays itself."""
    name = column.quoted
    cases = [f"WHEN 'integer' THEN 'i' || {name}", f"WHEN 'text' THEN 't' || hex(CAST({name} AS BLOB))",
             f"WHEN 'blob' THEN 'b' || hex({name})"]  # fmt: skip
    if column.has("real"):
        cases.append(f"WHEN 'real' THEN CASE WHEN {name} = 0.0 THEN {name} WHEN {name} = ?1 THEN 'r+'"
                     f" WHEN {name} = ?2 THEN 'r-' {' '.join(_rungs(name))} END")  # fmt: skip
    return f"CASE typeof({name}) {' '.join(cases)} END"


def _rungs(name: str) -> Iterator[str]:
    at = 4
    for rung in range(_HIGHEST, _LOWEST - 1, -1):
        scaled = f"({name} * ?{at + 1} * ?{at + 2})"
        whole = f"CAST({scaled} AS INTEGER)"
        rest = f"CAST(({scaled} - {whole}) * ?3 AS INTEGER)"
        yield f"WHEN abs({name}) >= ?{at} THEN 'r{rung},' || {whole} || ',' || {rest}"
        at += 3


def drawn(session: Session, table: str, key: Sequence[Column], drawn_by: Threshold) -> str:
    """A WHERE clause that the rows fulfil which the hash of their key draws; it lasts as long as the connection."""
    prefix = drawn_by.prefix(table)

    def draws(*cells: Any) -> bool:
        return drawn_by.draws(prefix, (_hashed(kind, cell) for kind, cell in zip(cells[::2], cells[1::2], strict=True)))

    session.connection.create_function("reversible_drawn", -1, draws, deterministic=True)
    return f" WHERE reversible_drawn({', '.join(raw(column.quoted) for column in key)})"


def _hashed(kind: str, cell: int | float | bytes) -> str:
    """A key's value as text that no other value has: the hex digits of class and value, text as the file's bytes."""
    if isinstance(cell, bytes):
        return f"{kind} ".encode().hex() + cell.hex()
    return f"{kind} {cell.hex() if isinstance(cell, float) else cell}".encode().hex()


def batches(
    session: Session, source: str, columns: Sequence[Column], where: str = ""
) -> Iterator[tuple[dict[str, Cells], int]]:
    """The table again, by the engine's spelling: the cells of some rows, and how many rows these are.

    Raises:
        ValueError: the engine wrote something that is none of the above.
    """
    fields = ", ".join(spelling(column, session.codec) for column in columns)
    needed = PARAMETERS if any(column.has("real") for column in columns) else []
    rows = session.connection.execute(f"SELECT {fields} FROM {source}{where}", needed)  # noqa: S608 - quoted names
    step = rows_at_once(columns)
    while fetched := rows.fetchmany(step):
        cells = {
            column.name: cells_of(values, column, session.codec)
            for column, values in zip(columns, zip(*fetched, strict=True), strict=True)
        }
        yield cells, len(fetched)


def cells_of(values: Sequence[Any], column: Column, codec: str) -> Cells:
    """A column of spelled values as cells, what the column cannot hold set aside."""
    whole = _whole(values, column, codec)
    return _one_by_one(values, column, codec) if whole is None else Cells(whole)


def _whole(values: Sequence[Any], column: Column, codec: str) -> pa.Array | None:
    """All values at once, where each has the column's class and is no real, nor text in UTF-16; else None."""
    head = {"integer": "i", "text": "t", "blob": "b"}.get(column.stored)
    if head is None or (head == "t" and codec != "utf-8") or not {type(one) for one in values} <= {str, type(None)}:
        return None
    spelled_out = pa.array(values, pa.large_string())
    if not pc.all(pc.starts_with(spelled_out, head)).as_py():
        return None
    rest = pc.utf8_slice_codeunits(spelled_out, 1)
    if head == "i":
        return rest.cast(pa.int64())
    joined = bytes.fromhex("".join(rest.drop_null().to_pylist()))
    ends = np.cumsum(pc.fill_null(pc.binary_length(rest), 0).to_numpy() // 2, dtype=np.int64)
    offsets = pa.py_buffer(np.concatenate([np.zeros(1, np.int64), ends]))
    found = pa.Array.from_buffers(
        pa.large_binary(), len(values), [rest.is_valid().buffers()[1], offsets, pa.py_buffer(joined)]
    )
    try:
        return found.cast(ARROW[column.stored])
    except pa.ArrowInvalid:  # text that is not valid UTF-8 stands among it
        return None


def _one_by_one(values: Sequence[Any], column: Column, codec: str) -> Cells:
    kept: list[Any] = []
    odd: dict[int, str] = {}
    for row, cell in enumerate(values):
        if cell is None:
            kept.append(None)
            continue
        kind, value = read(cell, codec)
        if kind == column.stored:
            kept.append(value)
        else:
            kept.append(None)
            odd[row] = spelled(value)
    return Cells(pa.array(kept, ARROW[column.stored]), odd)


def read(cell: str | float, codec: str) -> tuple[str, Any]:
    """Storage class and value of one cell as `spelling` writes it; the class "" for text that is not valid.

    Raises:
        ValueError: it is not so written.
    """
    if isinstance(cell, float):
        if cell != 0:
            raise ValueError(f"{cell} came where only a zero may")
        return "real", cell
    head, rest = cell[:1], cell[1:]
    if head == "i":
        return "integer", int(rest)
    if head == "b":
        return "blob", bytes.fromhex(rest)
    if head == "t":
        value = in_codec(bytes.fromhex(rest), codec)
        return ("text" if isinstance(value, str) else ""), value
    if head == "r" and rest in ("+", "-"):
        return "real", math.inf if rest == "+" else -math.inf
    if head != "r":
        raise ValueError(f"the engine spelled a value as {cell[:20]!r}")
    rung, whole, part = map(int, rest.split(","))
    return "real", math.ldexp(float((whole << _BITS) + part), _STEP * rung - _BITS)


def is_broken(cells: Cells) -> bool:
    """Whether some text among these is not valid: the totals then take another way."""
    return any(text.startswith("text-bytes:") for text in cells.exceptions.values())


# --- totals -----------------------------------------------------------------------------------------------------

_PER_QUERY = 200
_MEASURE = {"integer": ("value", "{c}"), "real": ("NaN", "0"), "text": ("bytes in UTF-8", "{length}"),
            "blob": ("bytes", "length({c})")}  # fmt: skip


def totals(
    session: Session, source: str, columns: Sequence[Column], broken: Container[str]
) -> tuple[int, dict[str, dict[str, Any]]]:
    """The rows, and per column: values present, and of what `of` names the sum, smallest and largest, as text.

    Values of another class than the column's, and text that is not valid (in the columns `broken`), are left out of
    the three. The sum comes in two halves: SQLite's own sum() gives up beyond 64 bits.
    """
    session.connection.create_function("reversible_length", 1, _length(session.codec), deterministic=True)
    rows = 0
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(columns), _PER_QUERY):
        chosen = columns[start : start + _PER_QUERY]
        fields = ["count(*)"]
        for column in chosen:
            measured = _measured(column, session.codec, broken=column.name in broken)
            fields += [f"count({column.quoted})", f"sum(({measured}) >> 32)", f"sum(({measured}) & 4294967295)",
                       f"min({measured})", f"max({measured})"]  # fmt: skip
        values = session.rows(f"SELECT {', '.join(fields)} FROM {source}")[0]  # noqa: S608 - quoted names
        rows = values[0]
        for n, column in enumerate(chosen):
            present, high, low, least, most = values[1 + 5 * n : 6 + 5 * n]
            total = None if high is None else (high << 32) + low
            found[column.name] = {"present": present, "of": _MEASURE[column.stored][0], "sum": _text(total),
                                  "min": _text(least), "max": _text(most)}  # fmt: skip
    return rows, found


def _measured(column: Column, codec: str, *, broken: bool) -> str:
    name = column.quoted
    # A blob of UTF-8 text is as long as the text. SQLite has no such figure for UTF-16 or for text that is not valid.
    length = f"length(CAST({name} AS BLOB))"
    if broken or codec != "utf-8":
        length = f"reversible_length({length[7:-1]})"
    measure = _MEASURE[column.stored][1].format(c=name, length=length)
    return f"CASE typeof({name}) WHEN '{column.stored}' THEN {measure} END"


def _length(codec: str) -> Any:
    """How many bytes a TEXT value takes in UTF-8, given those that it takes in the file; NULL when it is not valid."""

    def measure(raw: bytes) -> int | None:
        value = in_codec(raw, codec)
        return len(value.encode()) if isinstance(value, str) else None

    return measure


def _text(figure: int | None) -> str | None:
    return None if figure is None else str(figure)
