"""How does the server's own text become typed columns at the machine's speed? `postgres_csv` with compiled loops.

COPY ... (FORMAT text), which costs the server a sixth less than CSV. The loops read numbers, days and moments, and
gather texts; whatever else a type needs is what `postgres_csv` does. What a loop does not know, it marks: such values
are taken from the message one by one, and set aside where the type cannot hold them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.machine_code import Loop
from reversible_exporters import postgres_csv
from reversible_exporters.postgres_copy import Rows
from reversible_exporters.postgres_loops import ENTRY, MOST_ENTRIES, ODD, SLOTS, VALUE
from reversible_exporters.postgres_types import Column
from reversible_exporters.table_parts import Block

_MOST_DIGITS = 18  # of a decimal that the loops read
_SPARE = 8  # bytes that a loop may write beyond the texts
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_WHOLE = re.compile(r"-?[0-9]{1,19}")

Ints = npt.NDArray[np.int32]
Exceptions = list[tuple[int, str, str]]


def blocks(chunks: Iterable[Rows], columns: Sequence[Column], loops: Mapping[str, Loop]) -> Iterator[Block]:
    """Parse COPY's text; each message holds exactly one row, as the protocol guarantees for COPY TO.

    Texts of few values come as dictionaries.

    Raises:
        ValueError: the text is not what the catalogs announce.
    """
    entries = {column.name: _Entries() for column in columns if column.stored.csv == "text"}
    for rows in chunks:
        fields = _Fields(rows, len(columns), loops)
        exceptions: Exceptions = []
        typed = [_typed(fields, number, column, entries, exceptions) for number, column in enumerate(columns)]
        batch = pa.RecordBatch.from_arrays(typed, names=[column.name for column in columns])
        yield Block(batch, sorted(exceptions))


class _Fields:
    """Where the fields of some rows lie."""

    def __init__(self, rows: Rows, columns: int, loops: Mapping[str, Loop]) -> None:
        self.loops = loops
        self.count = len(rows)
        self.data = rows.data
        self._starts = rows.starts.astype(np.int32)
        self._ends = np.empty((columns, self.count), np.int32)
        good = loops["split"](
            _at(rows.data), _at(self._starts), rows.size, self.count, columns, _at(self._ends)
        )  # fmt: skip
        if good != self.count:
            raise ValueError(f"{self.count} rows were sent, and row {good} of them does not have {columns} fields")

    def place(self, number: int) -> tuple[int, int, int, int, int]:
        """A column's fields, as the loops take them."""
        before = _at(self._ends[number - 1]) if number else 0
        return _at(self.data), _at(self._starts), before, _at(self._ends[number]), self.count

    def size(self, number: int) -> int:
        """Bytes of a column's fields."""
        begins = self._ends[number - 1].sum(dtype=np.int64) + self.count if number else self._starts.sum(dtype=np.int64)
        return int(self._ends[number].sum(dtype=np.int64) - begins)

    def raw(self, number: int, row: int) -> bytes:
        """One field as COPY wrote it."""
        begin = int(self._ends[number - 1][row]) + 1 if number else int(self._starts[row])
        return self.data[begin : int(self._ends[number][row])].tobytes()


def _at(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)


def _typed(
    fields: _Fields, number: int, column: Column, entries: dict[str, "_Entries"], exceptions: Exceptions
) -> pa.Array:
    stored = column.stored
    kind = stored.csv
    flags = np.empty(fields.count, np.uint8)
    if stored.family == "int":
        return _integers(fields, number, column, flags)
    if kind == "decimal" and stored.settings["precision"] <= _MOST_DIGITS:
        values = np.empty(2 * fields.count, np.int64)
        most = 10 ** stored.settings["precision"] - 1
        missing = fields.loops["decimals"](
            *fields.place(number), _at(values), stored.settings["scale"], most, _at(flags)
        )  # fmt: skip
    elif kind == "date":
        values = np.empty(fields.count, np.int32)
        missing = fields.loops["dates"](*fields.place(number), _at(values), _at(flags))
    elif kind in ("timestamp", "timestamptz"):
        values = np.empty(fields.count, np.int64)
        missing = fields.loops["timestamps"](
            *fields.place(number), _at(values), int(kind == "timestamptz"), _at(flags)
        )  # fmt: skip
    else:
        return _from_text(fields, number, column, entries, exceptions)
    if missing:
        exceptions += _set_aside(fields, number, column, flags)
    return _array(stored.arrow, values, flags, missing)


def _array(arrow: pa.DataType, values: npt.NDArray[Any], flags: npt.NDArray[np.uint8], missing: int) -> pa.Array:
    return pa.Array.from_buffers(arrow, len(flags), [_valid(flags, missing), pa.py_buffer(values)], missing)


def _valid(flags: npt.NDArray[np.uint8], missing: int) -> pa.Buffer | None:
    return pa.py_buffer(np.packbits(flags == VALUE, bitorder="little")) if missing else None


def _set_aside(fields: _Fields, number: int, column: Column, flags: npt.NDArray[np.uint8]) -> Exceptions:
    """What the column's type cannot hold.

    Raises:
        ValueError: the type could hold it, and the loop did not know it.
    """
    found: Exceptions = []
    for row in np.flatnonzero(flags == ODD).tolist():
        text = _text(fields.raw(number, row))
        if postgres_csv.is_plain(text, column):
            raise ValueError(f"{text!r} is no value of {column.source_type}")
        found.append((row, column.name, text))
    return found


def _integers(fields: _Fields, number: int, column: Column, flags: npt.NDArray[np.uint8]) -> pa.Array:
    arrow = column.stored.arrow
    limits = np.iinfo(f"i{arrow.bit_width // 8}")
    values = np.empty(fields.count, np.int64)
    missing = fields.loops["integers"](
        *fields.place(number), _at(values), int(limits.min), int(limits.max), _at(flags)
    )  # fmt: skip
    for row in np.flatnonzero(flags == ODD).tolist() if missing else ():  # the least number of 64 bits, and no other
        text = _text(fields.raw(number, row))
        if not _WHOLE.fullmatch(text) or not limits.min <= int(text) <= limits.max:
            raise ValueError(f"{text!r} is no value of {column.source_type}")
        values[row], flags[row] = int(text), VALUE
        missing -= 1
    return _array(arrow, values.astype(f"i{arrow.bit_width // 8}", copy=False), flags, missing)


# --- texts ------------------------------------------------------------------------------------------------------


def _from_text(
    fields: _Fields, number: int, column: Column, entries: dict[str, "_Entries"], exceptions: Exceptions
) -> pa.Array:
    known = entries.get(column.name)
    if known is not None:
        coded = known.codes(fields, number)
        if coded is not None:
            return coded
        del entries[column.name]  # too many values
    plain, found = postgres_csv.set_aside(_texts(fields, number), column)
    exceptions += found
    return postgres_csv.convert(plain, column)


def _texts(fields: _Fields, number: int) -> pa.Array:
    content = np.empty(fields.size(number) + _SPARE, np.uint8)
    offsets, flags = np.empty(fields.count + 1, np.int32), np.empty(fields.count, np.uint8)
    seen = np.zeros(1, np.uint64)
    missing = fields.loops["texts"](*fields.place(number), _at(content), _at(offsets), _at(flags), _at(seen))
    if missing < 0:
        raise ValueError("a backslash stands where COPY writes none")
    buffers = [_valid(flags, missing), pa.py_buffer(offsets), pa.py_buffer(content[: offsets[-1]])]
    values = pa.Array.from_buffers(pa.string(), fields.count, buffers, missing)
    if int(seen[0]) & 0x8080_8080_8080_8080:
        values.validate(full=True)  # ArrowInvalid, a ValueError, when it is not UTF-8
    return values


class _Entries:
    """The values of a column that has few of them, in the order in which they came, and a table to find them."""

    def __init__(self) -> None:
        self._table = np.zeros(SLOTS, np.int32)
        self._content = np.empty((MOST_ENTRIES, ENTRY), np.uint8)
        self._sizes = np.zeros(1 + MOST_ENTRIES, np.int32)
        self._values = pa.array([], pa.string())

    def codes(self, fields: _Fields, number: int) -> pa.Array | None:
        """The column's values as a dictionary and an index; None when there are too many of them, or too long ones."""
        codes, flags = np.empty(fields.count, np.int32), np.empty(fields.count, np.uint8)
        missing = fields.loops["codes"](
            *fields.place(number), _at(codes), _at(flags), _at(self._table), _at(self._content), _at(self._sizes)
        )  # fmt: skip
        if missing < 0:
            return None
        count = int(self._sizes[0])
        if count != len(self._values):
            self._values = pa.array([_text(self._content[n, : self._sizes[1 + n]].tobytes()) for n in range(count)])
        return pa.DictionaryArray.from_arrays(_array(pa.int32(), codes, flags, missing), self._values, safe=False)


def _text(raw: bytes) -> str:
    """A field without its backslashes.

    Raises:
        ValueError: a backslash stands where COPY writes none, or it is not UTF-8.
    """
    if b"\\" in raw:
        raw = _ESCAPE.sub(_unescaped, raw)
    return raw.decode()


def _unescaped(found: "re.Match[bytes]") -> bytes:
    try:
        return _ESCAPES[found[1]]
    except KeyError:
        raise ValueError("a backslash stands where COPY writes none") from None
