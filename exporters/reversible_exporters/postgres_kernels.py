"""How are COPY's messages taken from libpq, and its text cut into fields, at the machine's speed?

Plain Python that numba compiles once per machine (`reversible.machine_code`); no other module imports this one. With
`postgres_kernels_values` and `postgres_kernels_texts` it does what `postgres_copy._blocks` and `postgres_csv` do with
libpq and pyarrow; tests hold both to the same values. Buffers come as addresses. Nothing here may raise, or allocate.

The form: https://www.postgresql.org/docs/18/sql-copy.html, "Text Format": a tab after each field but the last, a line
feed after the row, a backslash before what would be mistaken, `\\N` for NULL.
"""

import numpy as np

from reversible.fingerprint.kernels_memory import counts_at, flags_at, ints_at
from reversible_exporters.postgres_kernels_memory import among64, bits, call1, call3, lowest, move
from reversible_exporters.postgres_kernels_texts import codes, texts
from reversible_exporters.postgres_kernels_values import dates, decimals, integers, timestamps
from reversible_exporters.postgres_loops import (
    CAME,
    CODES,
    DATES,
    DECIMALS,
    FAILED,
    FLAGS,
    FULL,
    INTEGERS,
    KIND,
    LENGTH,
    MORE,
    NOTHING,
    OUT,
    POINTER,
    PROGRAM,
    RESULT,
    SIZE,
    TEXTS,
    TIMESTAMPS,
    WAIT,
)

_TAB, _LINE_FEED = 9, 10
_TILE = 512  # rows that are read at once
_NOTHING, _ONE = np.uint64(0), np.uint64(1)


# --- libpq ------------------------------------------------------------------------------------------------------


def receive(connection, get, consume, release, out, room, starts, most, state):  # type: ignore[no-untyped-def]
    """Copy messages to `out` until one does not fit: `FULL`; none is there: `WAIT`; there are no more: libpq's -1.

    `state`, int64: the message that waits for room and its length, how many messages came, and their bytes.
    The functions are libpq's PQgetCopyData, PQconsumeInput and PQfreemem: libpq-copy, "Functions for Receiving".
    """
    kept, begin = counts_at(state), counts_at(starts)
    came, size, asked = kept[CAME], kept[SIZE], False
    answer = WAIT
    while True:
        if kept[POINTER] == 0:
            length = call3(get, connection, state + 8 * POINTER, 1)
            if length == 0:
                if asked:
                    answer = WAIT
                    break
                if call1(consume, connection) == 0:
                    answer = FAILED
                    break
                asked = True
                continue
            if length < 0:
                answer = length
                break
            kept[LENGTH] = length
        asked = False
        length = kept[LENGTH]
        if came == most or size + length > room:
            answer = FULL
            break
        move(out + size, kept[POINTER], length)
        call1(release, kept[POINTER])
        kept[POINTER] = 0
        begin[came] = size
        came += 1
        size += length
    kept[CAME], kept[SIZE] = came, size
    return answer


# --- fields -----------------------------------------------------------------------------------------------------


def split(data, starts, size, rows, columns, ends):  # type: ignore[no-untyped-def]
    """Where each field ends, shape (columns, rows), relative to `data`; gives how many rows are as they must be.

    A row is one message. It has a tab after each field but the last, and one line feed, which ends the message. Reads
    up to 63 bytes beyond `size`.
    """
    begin, found = ints_at(starts), ints_at(ends)
    row = column = feeds = 0
    for at in range(0, size, 64):
        tabs, lines = among64(data + at, _TAB), among64(data + at, _LINE_FEED)
        if size - at < 64:
            valid = (_ONE << np.uint64(size - at)) - _ONE
            tabs &= valid
            lines &= valid
        feeds += bits(lines)
        marks = tabs | lines
        while marks != _NOTHING:
            if row == rows:
                return 0
            place = at + lowest(marks)
            marks &= marks - _ONE
            found[column * rows + row] = place
            column += 1
            if column == columns:
                column = 0
                row += 1
    if row != rows or column != 0 or feeds != rows:
        return 0
    last, bytes_ = (columns - 1) * rows, flags_at(data)
    for n in range(rows):
        place = np.int64(found[last + n])
        if place + 1 != (begin[n + 1] if n + 1 < rows else size) or bytes_[place] != _LINE_FEED:
            return n
    return rows


def columns(data, starts, ends, rows, count, program):  # type: ignore[no-untyped-def]
    """Read the columns that `split` has found, as `program` says, `PROGRAM` int64 for each: see `postgres_loops`.

    Some rows of every column after the other, so that their bytes are read while they are near the processor.
    """
    for first in range(0, rows, _TILE):
        last = min(first + _TILE, rows)
        for column in range(count):
            said = counts_at(program + column * PROGRAM * 8)
            kind, out, flags, result = said[KIND], said[OUT], said[FLAGS], said[RESULT]
            if kind == NOTHING or result < 0:
                continue
            end = ends + column * rows * 4
            before = end - rows * 4 if column > 0 else 0
            found = np.int64(-1)
            if kind == INTEGERS:
                found = integers(data, starts, before, end, first, last, out, said[MORE], said[MORE + 1], flags)
            elif kind == DECIMALS:
                found = decimals(data, starts, before, end, first, last, out, said[MORE], said[MORE + 1], flags)
            elif kind == DATES:
                found = dates(data, starts, before, end, first, last, out, flags)
            elif kind == TIMESTAMPS:
                found = timestamps(data, starts, before, end, first, last, out, said[MORE], flags)
            elif kind == TEXTS:
                found = texts(data, starts, before, end, first, last, out, said[MORE], flags, said[MORE + 1])
            elif kind == CODES:
                table, entries, sizes = said[MORE], said[MORE + 1], said[MORE + 2]
                found = codes(data, starts, before, end, first, last, out, flags, table, entries, sizes)
            said[RESULT] = result + found if found >= 0 else found
    return rows


LOOPS = {"receive": (receive, 9), "split": (split, 6), "columns": (columns, 6)}  # name: loop, how many int64 it takes
