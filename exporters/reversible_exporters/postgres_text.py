"""How does the server's own text become typed columns at the machine's speed? `postgres_csv` with compiled loops.

COPY ... (FORMAT text), which costs the server a sixth less than CSV. The loops read numbers, days and moments, and
gather texts; whatever else a type needs is what `postgres_csv` does. What a loop does not know, it marks: such values
are taken from the message one by one, and set aside where the type cannot hold them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

Exceptions = list[tuple[int, str, str]]
Reader = Callable[["_Fields", int, Exceptions], pa.Array]  # the rows' fields, which column, what is set aside


def blocks(chunks: Iterable[Rows], columns: Sequence[Column], loops: Mapping[str, Loop]) -> Iterator[Block]:
    """Parse COPY's text; each message holds exactly one row, as the protocol guarantees for COPY TO.

    Texts of few values come as dictionaries.

    Raises:
        ValueError: the text is not what the catalogs announce.
    """
    readers = [_reader(column, loops) for column in columns]
    names = [column.name for column in columns]
    for rows in chunks:
        fields = _Fields(rows, len(columns), loops["split"])
        exceptions: Exceptions = []
        typed = [read(fields, number, exceptions) for number, read in enumerate(readers)]
        yield Block(pa.RecordBatch.from_arrays(typed, names=names), sorted(exceptions))


class _Fields:
    """Where the fields of some rows lie, and room for what a loop says of each."""

    def __init__(self, rows: Rows, columns: int, split: Loop) -> None:
        self.count = len(rows)
        self._data = rows.data
        self._starts = rows.starts.astype(np.int32)
        self._ends = np.empty((columns, self.count), np.int32)
        self.flags = np.empty(self.count, np.uint8)
        self.flags_at = _at(self.flags)
        self._places = _at(self._data), _at(self._starts), _at(self._ends)
        good = split(*self._places[:2], rows.size, self.count, columns, self._places[2])
        if good != self.count:
            raise ValueError(f"{self.count} rows were sent, and row {good} of them does not have {columns} fields")

    def place(self, number: int) -> tuple[int, int, int, int, int]:
        """A column's fields, as the loops take them."""
        data, starts, ends = self._places
        end = ends + number * self._ends.strides[0]
        return data, starts, end - self._ends.strides[0] if number else 0, end, self.count

    def size(self, number: int) -> int:
        """Bytes of a column's fields."""
        begins = self._ends[number - 1].sum(dtype=np.int64) + self.count if number else self._starts.sum(dtype=np.int64)
        return int(self._ends[number].sum(dtype=np.int64) - begins)

    def raw(self, number: int, row: int) -> bytes:
        """One field as COPY wrote it."""
        begin = int(self._ends[number - 1][row]) + 1 if number else int(self._starts[row])
        return self._data[begin : int(self._ends[number][row])].tobytes()

    def odd(self) -> list[int]:
        """The rows whose field the last loop did not know."""
        found: list[int] = np.flatnonzero(self.flags == ODD).tolist()
        return found

    def array(self, arrow: pa.DataType, missing: int, *buffers: npt.NDArray[Any]) -> pa.Array:
        """An array of these buffers, NULL where the flags say so."""
        valid = pa.py_buffer(np.packbits(self.flags == VALUE, bitorder="little")) if missing else None
        return pa.Array.from_buffers(arrow, self.count, [valid, *map(pa.py_buffer, buffers)], missing)


def _at(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])  # `ctypes.data` takes ten times as long


def _reader(column: Column, loops: Mapping[str, Loop]) -> Reader:
    stored = column.stored
    kind = stored.csv
    if stored.family == "int":
        return _Integers(column, loops["integers"])
    if kind == "decimal" and stored.settings["precision"] <= _MOST_DIGITS:
        most = 10 ** stored.settings["precision"] - 1
        return _Numbers(column, loops["decimals"], np.dtype("V16"), (stored.settings["scale"], most))
    if kind == "date":
        return _Numbers(column, loops["dates"], np.dtype(np.int32), ())
    if kind in ("timestamp", "timestamptz"):
        return _Numbers(column, loops["timestamps"], np.dtype(np.int64), (int(kind == "timestamptz"),))
    return _Texts(column, loops)


class _Numbers:
    """A column that one loop reads, but for the values that the type cannot hold."""

    def __init__(self, column: Column, loop: Loop, dtype: "np.dtype[Any]", settings: tuple[int, ...]) -> None:
        self._column = column
        self._arrow = column.stored.arrow
        self._loop, self._dtype, self._settings = loop, dtype, settings

    def __call__(self, fields: _Fields, number: int, exceptions: Exceptions) -> pa.Array:
        values = np.empty(fields.count, self._dtype)
        missing = self._loop(*fields.place(number), _at(values), *self._settings, fields.flags_at)
        for row in fields.odd() if missing else ():
            text = _text(fields.raw(number, row))
            if postgres_csv.is_plain(text, self._column):  # the type could hold it, and the loop did not know it
                raise ValueError(f"{text!r} is no value of {self._column.source_type}")
            exceptions.append((row, self._column.name, text))
        return fields.array(self._arrow, missing, values)


class _Integers:
    def __init__(self, column: Column, loop: Loop) -> None:
        self._column = column
        self._arrow = column.stored.arrow
        self._dtype = np.dtype(f"i{self._arrow.bit_width // 8}")
        limits = np.iinfo(self._dtype)
        self._loop, self._least, self._most = loop, int(limits.min), int(limits.max)

    def __call__(self, fields: _Fields, number: int, exceptions: Exceptions) -> pa.Array:
        values = np.empty(fields.count, np.int64)
        missing = self._loop(*fields.place(number), _at(values), self._least, self._most, fields.flags_at)
        for row in fields.odd() if missing else ():  # the least number of 64 bits, and no other
            text = _text(fields.raw(number, row))
            if not _WHOLE.fullmatch(text) or not self._least <= int(text) <= self._most:
                raise ValueError(f"{text!r} is no value of {self._column.source_type}")
            values[row], fields.flags[row] = int(text), VALUE
            missing -= 1
        return fields.array(self._arrow, missing, values.astype(self._dtype, copy=False))


# --- texts ------------------------------------------------------------------------------------------------------


class _Texts:
    """A column whose fields are gathered as texts; or as a dictionary, for as long as a text has few values."""

    def __init__(self, column: Column, loops: Mapping[str, Loop]) -> None:
        self._column = column
        self._loop = loops["texts"]
        self._entries = _Entries(loops["codes"]) if column.stored.csv == "text" else None

    def __call__(self, fields: _Fields, number: int, exceptions: Exceptions) -> pa.Array:
        coded = self._entries and self._entries.codes(fields, number)
        if coded is not None:
            return coded
        self._entries = None  # too many values
        plain, found = postgres_csv.set_aside(self._gathered(fields, number), self._column)
        exceptions += found
        return postgres_csv.convert(plain, self._column)

    def _gathered(self, fields: _Fields, number: int) -> pa.Array:
        content = np.empty(fields.size(number) + _SPARE, np.uint8)
        offsets, seen = np.empty(fields.count + 1, np.int32), np.zeros(1, np.uint64)
        missing = self._loop(*fields.place(number), _at(content), _at(offsets), fields.flags_at, _at(seen))
        if missing < 0:
            raise ValueError("a backslash stands where COPY writes none")
        values = fields.array(pa.string(), missing, offsets, content[: offsets[-1]])
        if int(seen[0]) & 0x8080_8080_8080_8080:
            values.validate(full=True)  # ArrowInvalid, a ValueError, when it is not UTF-8
        return values


class _Entries:
    """The values of a column that has few of them, in the order in which they came, and a table to find them."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._table = np.zeros(SLOTS, np.int32)
        self._content = np.empty((MOST_ENTRIES, ENTRY), np.uint8)
        self._sizes = np.zeros(1 + MOST_ENTRIES, np.int32)
        self._places = _at(self._table), _at(self._content), _at(self._sizes)
        self._values = pa.array([], pa.string())

    def codes(self, fields: _Fields, number: int) -> pa.Array | None:
        """The column's values as a dictionary and an index; None when there are too many of them, or too long ones."""
        codes = np.empty(fields.count, np.int32)
        missing = self._loop(*fields.place(number), _at(codes), fields.flags_at, *self._places)
        if missing < 0:
            return None
        count = int(self._sizes[0])
        if count != len(self._values):
            self._values = pa.array([_text(self._content[n, : self._sizes[1 + n]].tobytes()) for n in range(count)])
        return pa.DictionaryArray.from_arrays(fields.array(pa.int32(), missing, codes), self._values, safe=False)


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
