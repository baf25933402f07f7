"""How do fields of COPY's text become texts, or numbers of a dictionary? Loops for `postgres_kernels.py`.

Their first six arguments are those of `postgres_kernels_values`.
"""

import numpy as np

from reversible.fingerprint.kernels_memory import flags_at, ints_at, part, read64, words_at
from reversible.fingerprint.mixing import M1, M2
from reversible_exporters.postgres_kernels_memory import borders, is_null, write64
from reversible_exporters.postgres_loops import ENTRY, MOST_ENTRIES, NULL, SLOTS, VALUE

_BACKSLASH, _WORD = 92, 8
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_LOW, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_NOTHING, _ONE = np.uint64(0), np.uint64(1)
_M1, _M2, _TO_SLOT = np.uint64(M1), np.uint64(M2), np.uint64(64 - SLOTS.bit_length() + 1)


@part
def texts(data, starts, before, ends, first_row, end_row, out, offsets, flags, seen):  # type: ignore[no-untyped-def]
    """Texts one after the other, and where each begins, int32, rows + 1 of them; gives how many are NULL, or -1.

    `seen`, one word: the bits of all bytes; its bits 7, 15 ... tell whether all of them are ASCII. -1: a backslash
    stands before a byte that COPY does not write there. `out` has eight bytes more than the fields.
    """
    bytes_, offset, flag = flags_at(data), ints_at(offsets), flags_at(flags)
    begin, end, skip = borders(starts, before, ends)
    missing = 0
    place = np.int64(offset[first_row]) if first_row > 0 else np.int64(0)
    every = _NOTHING
    for row in range(first_row, end_row):
        at, to = begin[row] + skip, np.int64(end[row])
        offset[row] = place
        flag[row] = VALUE
        marks = _NOTHING
        length = to - at
        n = np.int64(0)
        while n + _WORD <= length:
            word = read64(data + at + n)
            marks |= _among(word, _BACKSLASHES)
            every |= word
            write64(out + place + n, word)
            n += _WORD
        if n < length:
            word = read64(data + at + n) & ((np.uint64(1) << np.uint64(8 * (length - n))) - np.uint64(1))
            marks |= _among(word, _BACKSLASHES)
            every |= word
            write64(out + place + n, word)
        if marks == _NOTHING:
            place += length
        elif is_null(bytes_, at, to):
            flag[row] = NULL
            missing += 1
        else:
            place = _unescaped(bytes_, at, to, flags_at(out), place)
            if place < 0:
                return -1
    offset[end_row] = place
    words_at(seen)[0] |= every
    return missing


@part
def _among(word, wanted):  # type: ignore[no-untyped-def]
    """Not 0 when one of the bytes is the wanted one."""
    other = word ^ wanted
    return (other - _LOW) & ~other & _HIGH


@part
def _unescaped(data, at, end, out, place):  # type: ignore[no-untyped-def]
    """Write the field without its backslashes; gives where it ends, or -1. CopyAttributeOutText in copyto.c."""
    while at < end:
        byte = data[at]
        if byte == _BACKSLASH:
            at += 1
            if at == end:
                return np.int64(-1)
            byte = data[at]
            if byte == 98:  # b
                byte = np.uint8(8)
            elif byte == 102:  # f
                byte = np.uint8(12)
            elif byte == 110:  # n
                byte = np.uint8(10)
            elif byte == 114:  # r
                byte = np.uint8(13)
            elif byte == 116:  # t
                byte = np.uint8(9)
            elif byte == 118:  # v
                byte = np.uint8(11)
            elif byte != _BACKSLASH:
                return np.int64(-1)
        out[place] = byte
        place += 1
        at += 1
    return place


@part
def codes(data, starts, before, ends, first_row, end_row, out, flags, table, entries, sizes):  # type: ignore[no-untyped-def]
    """Fields of few values as their numbers, int32, in the order in which they first came; gives how many are NULL.

    -1: there are more values than `MOST_ENTRIES`, or one is longer than `ENTRY`. An entry is the field as COPY writes
    it: equal fields, equal values. `table`, int32, `SLOTS` of them: 0, or an entry's number and one. `entries`: `ENTRY`
    bytes for each, zeros after its end. `sizes`, int32: how many entries there are, then the bytes of each.
    """
    bytes_, code, flag = flags_at(data), ints_at(out), flags_at(flags)
    begin, end, skip = borders(starts, before, ends)
    slot, size = ints_at(table), ints_at(sizes)
    missing = 0
    for row in range(first_row, end_row):
        at, to = begin[row] + skip, np.int64(end[row])
        code[row] = 0
        flag[row] = VALUE
        if is_null(bytes_, at, to):
            flag[row] = NULL
            missing += 1
            continue
        length = to - at
        if length > ENTRY:
            return np.int64(-1)
        head = _tail(data + at, min(length, np.int64(8)))
        foot = read64(data + to - 8) if length >= 8 else _NOTHING
        place = np.int64(((head * _M1 ^ foot) * _M2 ^ np.uint64(length)) * _M1 >> _TO_SLOT)
        while True:
            entry = np.int64(slot[place]) - 1
            if entry < 0:
                entry = np.int64(size[0])
                if entry == MOST_ENTRIES:
                    return np.int64(-1)
                for n in range(0, length, 8):
                    write64(entries + entry * ENTRY + n, _tail(data + at + n, min(length - n, np.int64(8))))
                size[0] = entry + 1
                size[1 + entry] = length
                slot[place] = entry + 1
                break
            if size[1 + entry] == length and _same(data + at, entries + entry * ENTRY, length):
                break
            place = (place + 1) % SLOTS
        code[row] = entry
    return missing


@part
def _tail(at, count):  # type: ignore[no-untyped-def]
    """Up to eight bytes as a word, zeros beyond them."""
    if count == 0:
        return _NOTHING
    spare = np.uint64(64 - 8 * count)
    return read64(at) << spare >> spare


@part
def _same(at, entry, length):  # type: ignore[no-untyped-def]
    other = _NOTHING
    for n in range(0, length, 8):
        other |= _tail(at + n, min(length - n, np.int64(8))) ^ read64(entry + n)
    return other == _NOTHING
