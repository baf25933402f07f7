"""How does the server's own text become typed columns at the machine's speed? `postgres_csv` with compiled loops.

COPY ... (FORMAT text), which costs the server a sixth less than CSV. The loops read numbers, days and moments, and
gather texts; whatever else a type needs is what `postgres_csv` does. What a loop does not know, it marks: such values
are taken from the message one by one, and set aside where the type cannot hold them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.machine_code import Loop
from reversible_exporters import postgres_csv
from reversible_exporters.postgres_copy import Rows
from reversible_exporters.postgres_loops import (
    CODES,
    DATES,
    DECIMALS,
    ENTRY,
    INTEGERS,
    KIND,
    MORE,
    MOST_ENTRIES,
    NOTHING,
    ODD,
    PROGRAM,
    RESULT,
    SLOTS,
    TEXTS,
    TIMESTAMPS,
    VALUE,
)
from reversible_exporters.postgres_types import Column
from reversible_exporters.table_parts import Block

_MOST_DIGITS = 18  # of a decimal that the loops read
_SPARE = 8  # bytes that a loop may write beyond the texts
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_WHOLE = re.compile(r"-?[0-9]{1,19}")

Exceptions = list[tuple[int, str, str]]


def blocks(chunks: Iterable[Rows], columns: Sequence[Column], loops: Mapping[str, Loop]) -> Iterator[Block]:
    """Parse COPY's text; each message holds exactly one row, as the protocol guarantees for COPY TO.

    Texts of few values come as dictionaries.

    Raises:
        ValueError: the text is not what the catalogs announce.
    """
    readers = [_reader(column) for column in columns]
    names = [column.name for column in columns]
    for rows in chunks:
        fields = _Fields(rows, len(columns), loops)
        fields.read([reader.program(fields, number) for number, reader in enumerate(readers)])
        again = [
            reader.program(fields, number) if reader.anew(fields, number) else (NOTHING,)
            for number, reader in enumerate(readers)
        ]
        if any(kind != NOTHING for kind, *_ in again):
            fields.read(again)
        exceptions: Exceptions = []
        typed = [reader.array(fields, number, exceptions) for number, reader in enumerate(readers)]
        yield Block(pa.RecordBatch.from_arrays(typed, names=names), sorted(exceptions))


class _Fields:
    """Where the fields of some rows lie, and what the loops say of them: by column, and by column and row."""

    def __init__(self, rows: Rows, columns: int, loops: Mapping[str, Loop]) -> None:
        self.count = len(rows)
        self.results = np.zeros(columns, np.int64)
        self._loop = loops["columns"]
        self._data = rows.data
        self._starts = rows.starts.astype(np.int32)
        self._ends = np.empty((columns, self.count), np.int32)
        self._flags = np.empty((columns, self.count), np.uint8)
        self._flags_at = _at(self._flags)
        self._places = _at(self._data), _at(self._starts), _at(self._ends)
        good = loops["split"](*self._places[:2], rows.size, self.count, columns, self._places[2])
        if good != self.count:
            raise ValueError(f"{self.count} rows were sent, and row {good} of them does not have {columns} fields")

    def read(self, programs: Sequence[tuple[int, ...]]) -> None:
        """Let the loop read the columns; a program is the kind, where the values go, and what the kind needs."""
        table = np.zeros((len(programs), PROGRAM), np.int64)
        for number, (kind, *given) in enumerate(programs):
            if kind != NOTHING:
                table[number, : MORE + len(given) - 1] = (
                    kind,
                    given[0],
                    self._flags_at + number * self.count,
                    0,
                    *given[1:],
                )
        self._loop(*self._places, self.count, len(programs), _at(table))
        read = table[:, KIND] != NOTHING
        self.results[read] = table[read, RESULT]

    def size(self, number: int) -> int:
        """Bytes of a column's fields."""
        begins = self._ends[number - 1].sum(dtype=np.int64) + self.count if number else self._starts.sum(dtype=np.int64)
        return int(self._ends[number].sum(dtype=np.int64) - begins)

    def raw(self, number: int, row: int) -> bytes:
        """One field as COPY wrote it."""
        begin = int(self._ends[number - 1][row]) + 1 if number else int(self._starts[row])
        return self._data[begin : int(self._ends[number][row])].tobytes()

    def odd(self, number: int) -> list[int]:
        """The rows whose field the loop did not know."""
        if not self.results[number]:
            return []
        found: list[int] = np.flatnonzero(self._flags[number] == ODD).tolist()
        return found

    def known(self, number: int, row: int) -> None:
        """The field has a value after all."""
        self._flags[number, row] = VALUE
        self.results[number] -= 1

    def array(self, number: int, arrow: pa.DataType, *buffers: npt.NDArray[Any]) -> pa.Array:
        """An array of these buffers, NULL where the flags say so."""
        missing = int(self.results[number])
        valid = pa.py_buffer(np.packbits(self._flags[number] == VALUE, bitorder="little")) if missing else None
        return pa.Array.from_buffers(arrow, self.count, [valid, *map(pa.py_buffer, buffers)], missing)


def _at(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


class Reader(Protocol):
    """How one column is read: by the loop, as its program says; once more, where that says so; the rest here."""

    def program(self, fields: _Fields, number: int) -> tuple[int, ...]: ...

    def anew(self, fields: _Fields, number: int) -> bool: ...

    def array(self, fields: _Fields, number: int, exceptions: Exceptions) -> pa.Array: ...


def _reader(column: Column) -> Reader:
    stored = column.stored
    kind = stored.csv
    if stored.family == "int":
        return _Integers(column)
    if kind == "decimal" and stored.settings["precision"] <= _MOST_DIGITS:
        most = 10 ** stored.settings["precision"] - 1
        return _Numbers(column, np.dtype("V16"), DECIMALS, stored.settings["scale"], most)
    if kind == "date":
        return _Numbers(column, np.dtype(np.int32), DATES)
    if kind in ("timestamp", "timestamptz"):
        return _Numbers(column, np.dtype(np.int64), TIMESTAMPS, int(kind == "timestamptz"))
    return _Texts(column)


class _Numbers:
    """A column that the loop reads, but for the values that the type cannot hold."""

    def __init__(self, column: Column, dtype: "np.dtype[Any]", kind: int, *settings: int) -> None:
        self._column = column
        self._arrow = column.stored.arrow
        self._dtype, self._kind, self._settings = dtype, kind, settings

    def program(self, fields: _Fields, number: int) -> tuple[int, ...]:
        self._values = np.empty(fields.count, self._dtype)
        return self._kind, _at(self._values), *self._settings

    def anew(self, fields: _Fields, number: int) -> bool:
        return False

    def array(self, fields: _Fields, number: int, exceptions: Exceptions) -> pa.Array:
        for row in fields.odd(number):
            text = _text(fields.raw(number, row))
            if postgres_csv.is_plain(text, self._column):  # the type could hold it, and the loop did not know it
                raise ValueError(f"{text!r} is no value of {self._column.source_type}")
            exceptions.append((row, self._column.name, text))
        return fields.array(number, self._arrow, self._values)


class _Integers:
    def __init__(self, column: Column) -> None:
        self._column = column
        self._arrow = column.stored.arrow
        self._dtype = np.dtype(f"i{self._arrow.bit_width // 8}")
        limits = np.iinfo(self._dtype)
        self._least, self._most = int(limits.min), int(limits.max)

    def program(self, fields: _Fields, number: int) -> tuple[int, ...]:
        self._values = np.empty(fields.count, np.int64)
        return INTEGERS, _at(self._values), self._least, self._most

    def anew(self, fields: _Fields, number: int) -> bool:
        return False

    def array(self, fields: _Fields, number: int, exceptions: Exceptions) -> pa.Array:
        for row in fields.odd(number):  # the least number of 64 bits, and no other
            text = _text(fields.raw(number, row))
            if not _WHOLE.fullmatch(text) or not self._least <= int(text) <= self._most:
                raise ValueError(f"{text!r} is no value of {self._column.source_type}")
            self._values[row] = int(text)
            fields.known(number, row)
        return fields.array(number, self._arrow, self._values.astype(self._dtype, copy=False))


# --- texts ------------------------------------------------------------------------------------------------------


class _Texts:
    """A column whose fields are gathered as texts; or as a dictionary, for as long as a text has few values."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._entries = _Entries() if column.stored.csv == "text" else None

    def program(self, fields: _Fields, number: int) -> tuple[int, ...]:
        if self._entries is not None:
            return self._entries.program(fields)
        self._content = np.empty(fields.size(number) + _SPARE, np.uint8)
        self._offsets, self._seen = np.empty(fields.count + 1, np.int32), np.zeros(1, np.uint64)
        return TEXTS, _at(self._content), _at(self._offsets), _at(self._seen)

    def anew(self, fields: _Fields, number: int) -> bool:
        """Whether the column has too many values for a dictionary, and is to be read as texts from here on."""
        if self._entries is None or fields.results[number] >= 0:
            return False
        self._entries = None
        return True

    def array(self, fields: _Fields, number: int, exceptions: Exceptions) -> pa.Array:
        if self._entries is not None:
            return self._entries.array(fields, number)
        if fields.results[number] < 0:
            raise ValueError("a backslash stands where COPY writes none")
        values = fields.array(number, pa.string(), self._offsets, self._content[: self._offsets[-1]])
        if int(self._seen[0]) & 0x8080_8080_8080_8080:
            values.validate(full=True)  # ArrowInvalid, a ValueError, when it is not UTF-8
        plain, found = postgres_csv.set_aside(values, self._column)
        exceptions += found
        return postgres_csv.convert(plain, self._column)


class _Entries:
    """The values of a column that has few of them, in the order in which they came, and a table to find them."""

    def __init__(self) -> None:
        self._table = np.zeros(SLOTS, np.int32)
        self._content = np.empty((MOST_ENTRIES, ENTRY), np.uint8)
        self._sizes = np.zeros(1 + MOST_ENTRIES, np.int32)
        self._places = _at(self._table), _at(self._content), _at(self._sizes)
        self._values = pa.array([], pa.string())

    def program(self, fields: _Fields) -> tuple[int, ...]:
        self._codes = np.empty(fields.count, np.int32)
        return CODES, _at(self._codes), *self._places

    def array(self, fields: _Fields, number: int) -> pa.Array:
        """The column's values as a dictionary and an index."""
        count = int(self._sizes[0])
        if count != len(self._values):
            self._values = pa.array([_text(self._content[n, : self._sizes[1 + n]].tobytes()) for n in range(count)])
        return pa.DictionaryArray.from_arrays(fields.array(number, pa.int32(), self._codes), self._values, safe=False)


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
