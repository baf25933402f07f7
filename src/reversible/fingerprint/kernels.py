"""How are hashes made and added up at the machine's speed? The loops of `scatter.py` and `mixing.py` for numba.

Imported by `accelerator.py` alone, and only where numba is installed (extra `fast`). All words are uint64, modulo
2**64; tests hold both engines to the same digests.
"""

import importlib
from typing import Any

import numpy as np

from reversible.fingerprint.mixing import GAMMA, M1, M2
from reversible.fingerprint.sketch import SLICE_BITS, TABLES, TOP_SHIFT, TOPS

_GAMMA, _M1, _M2 = np.uint64(GAMMA), np.uint64(M1), np.uint64(M2)
_S30, _S27, _S31, _ZERO = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(0)
_SLICE, _SLICE_MASK = np.uint64(SLICE_BITS), np.uint64((1 << SLICE_BITS) - 1)
_TOP_BIT = np.uint64(63)
_TOP, _TWO_SLICES = np.uint64(TOP_SHIFT), np.uint64(2 * SLICE_BITS)

numba: Any = importlib.import_module("numba")  # not typed alike in all its versions
_compiled: Any = numba.njit
_part: Any = numba.njit(nogil=True)  # compiled within its callers only, so that their cache spares it
_word, _row_of_words, _rows_of_words = numba.uint64, numba.uint64[::1], numba.uint64[:, ::1]
_places = numba.types.Array(numba.int64, 1, "C", readonly=True)
_rows_of_words_in = numba.types.Array(numba.uint64, 2, "A", readonly=True)
_pair = numba.types.UniTuple(_word, 2)


def _read(kind: Any, dimensions: int = 1, layout: str = "C") -> Any:
    """An array that is only read: Arrow's memory may not be written."""
    return numba.types.Array(kind, dimensions, layout, readonly=True)


@_part
def _mix(x):  # type: ignore[no-untyped-def]
    x = x + _GAMMA
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@_compiled(
    _pair(
        _read(_word), _read(_word), _read(numba.boolean), _word, _word, _word, _word, _row_of_words, _row_of_words,
        _row_of_words,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def hash_words(low, high, null, seed0, seed1, null0, null1, cells, sums0, sums1):  # type: ignore[no-untyped-def]
    """Cells of one column; `high` and `null` may be empty. Adds to the rows' sums, returns the column's."""
    total0 = total1 = _ZERO
    wide, gaps = len(high) > 0, len(null) > 0
    for n in range(len(low)):
        one, two = _mix(low[n] + seed0), _mix(low[n] + seed1)
        if wide and high[n] != _ZERO:
            one, two = _mix(one ^ high[n]), _mix(two ^ high[n])
        if gaps and null[n]:
            one, two = null0, null1
        cells[n] = one
        sums0[n] += one
        sums1[n] += two
        total0 += one
        total1 += two
    return total0, total1


@_compiled(
    _pair(_read(_word), _read(_word), _read(numba.int64), _row_of_words, _row_of_words, _row_of_words),
    cache=True, nogil=True,
)  # fmt: skip
def look_up(table0, table1, index, cells, sums0, sums1):  # type: ignore[no-untyped-def]
    """The same for a dictionary whose entries are hashed already."""
    total0 = total1 = _ZERO
    for n in range(len(index)):
        one, two = table0[index[n]], table1[index[n]]
        cells[n] = one
        sums0[n] += one
        sums1[n] += two
        total0 += one
        total1 += two
    return total0, total1


@_compiled(numba.void(_rows_of_words), cache=True, nogil=True)
def mix_rows(sums):  # type: ignore[no-untyped-def]
    for lane in range(sums.shape[0]):
        for n in range(sums.shape[1]):
            sums[lane, n] = _mix(sums[lane, n])


@_part
def _thrice(values, first, second, third, into):  # type: ignore[no-untyped-def]
    for n in range(len(values)):
        value = values[n]
        into[first[n]] += value
        into[second[n]] += value
        into[third[n]] += value


@_compiled(
    numba.void(
        _read(_word), _rows_of_words_in, _rows_of_words_in, _places, numba.int64, numba.int64[::1], _row_of_words,
        _rows_of_words, _rows_of_words,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def add(rows, cells, keys, at, shift, counts, fine, coarse, sketch):  # type: ignore[no-untyped-def]
    """Add rows to the grids and the sketch, one field after the other: each field's sums stay in the nearest cache."""
    for n in range(len(rows)):
        counts[at[n]] += 1
        fine[at[n]] += rows[n]
    for c in range(len(cells)):
        values, sums = cells[c], coarse[c]
        for n in range(len(rows)):
            sums[at[n] >> shift] += values[n]
    if not sketch.shape[1]:
        return
    first, second, third = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    size = np.uint64(sketch.shape[1] // TABLES)
    for n in range(len(rows)):
        first[n] = (rows[n] & _SLICE_MASK) * size >> _SLICE
        second[n] = ((rows[n] >> _SLICE & _SLICE_MASK) * size >> _SLICE) + size
        third[n] = ((rows[n] >> _TWO_SLICES & _SLICE_MASK) * size >> _SLICE) + size + size
    packed = np.ones(len(rows), np.uint64)
    _thrice(packed, first, second, third, sketch[0])
    field, last = 0, len(cells) + len(keys)
    for field in range(last + 1):
        values = rows if field == 0 else cells[field - 1] if field <= len(cells) else keys[field - 1 - len(cells)]
        _thrice(values, first, second, third, sketch[1 + field])
        place = np.uint64(8 * (field % TOPS))
        for n in range(len(rows)):
            kept = _ZERO if place == _ZERO else packed[n]
            packed[n] = kept | values[n] >> _TOP << place
        if field % TOPS == TOPS - 1 or field == last:
            _thrice(packed, first, second, third, sketch[2 + last + field // TOPS])


def split(pairs: Any) -> Any:
    """The two words of 128-bit integers, shape (values, 2): the high one None where all fit in a signed 64 bits."""
    low, high = np.empty(len(pairs), np.uint64), np.empty(len(pairs), np.uint64)
    return low, high if _split(pairs, low, high) else None


@_compiled(_word(_read(_word, 2), _row_of_words, _row_of_words), cache=True, nogil=True)
def _split(pairs, low, high):  # type: ignore[no-untyped-def]
    some = _ZERO
    for n in range(len(pairs)):
        low[n] = pairs[n, 0]
        high[n] = pairs[n, 1] + (pairs[n, 0] >> _TOP_BIT)
        some |= high[n]
    return some
