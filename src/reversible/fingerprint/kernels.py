"""How are rows hashed and added up at the machine's speed? One loop over a batch, while its rows are in the cache.

Plain Python that `compiled.py` has numba compile once per machine; no other module imports this one. It does what
`scatter.py` does with numpy, and tests hold both to the same digests. Arrays come as addresses, all words are uint64,
modulo 2**64. Nothing here may raise, or allocate: the compiled code stands alone, without numba.
"""

import numpy as np

from reversible.fingerprint.compiled import CELLS, FIELDS, PAIRS
from reversible.fingerprint.kernels_memory import counts_at, flags_at, part, words_at
from reversible.fingerprint.kernels_xxh3 import xxh3_128
from reversible.fingerprint.mixing import GAMMA, M1, M2
from reversible.fingerprint.sketch import SLICE_BITS, TABLES, TOP_SHIFT, TOPS

_GAMMA, _M1, _M2 = np.uint64(GAMMA), np.uint64(M1), np.uint64(M2)
_S30, _S27, _S31, _TOP_BIT, _BITS = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(63), np.uint64(64)
_ZERO, _ONE, _EIGHT, _TOPS = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(8 * TOPS)
_TOP, _SLICE, _SLICE_MASK = np.uint64(TOP_SHIFT), np.uint64(SLICE_BITS), np.uint64((1 << SLICE_BITS) - 1)


@part
def _mix(x):  # type: ignore[no-untyped-def]
    x = x + _GAMMA
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@part
def _column(about, start, rows, cells, width, sums0, sums1, keys, totals):  # type: ignore[no-untyped-def]
    """Hash one column of a chunk of rows: cells to the images, both lanes onto the rows' sums, totals onto its own."""
    form, first, second, third = about[0], about[2], about[3], about[4]
    total0 = total1 = _ZERO
    if form == CELLS:
        lane0, lane1, index = words_at(first), words_at(second), counts_at(third)
        for n in range(rows):
            place = start + n
            if third != 0:
                place = index[place]
            one, two = lane0[place], lane1[place]
            cells[n * width] = one
            sums0[n] += one
            sums1[n] += two
            total0 += one
            total1 += two
    else:
        lows, highs, nulls = words_at(first), words_at(second), flags_at(third)
        seed0, seed1, null0, null1 = np.uint64(about[5]), np.uint64(about[6]), np.uint64(about[7]), np.uint64(about[8])
        for n in range(rows):
            place = start + n
            high = _ZERO
            if form == PAIRS:
                low = lows[2 * place]
                high = lows[2 * place + 1] + (low >> _TOP_BIT)
            else:
                low = lows[place]
                if second != 0:
                    high = highs[place]
            one, two = _mix(low + seed0), _mix(low + seed1)
            if high != _ZERO:
                one, two = _mix(one ^ high), _mix(two ^ high)
            if third != 0 and nulls[place] != 0:
                one, two = null0, null1
            cells[n * width] = one
            sums0[n] += one
            sums1[n] += two
            total0 += one
            total1 += two
    if about[1] != 0:
        for n in range(rows):
            keys[n] += cells[n * width]
    totals[0] += total0
    totals[1] += total1


@part
def _add_image(image, width, columns, key, size, sketch):  # type: ignore[no-untyped-def]
    """Put the count and the top bytes into a row's image, and add it to its three cells."""
    values = 1 + columns + key
    image[0] = _ONE
    field = 1
    for top in range(1 + values, width):
        packed, place = _ZERO, _ZERO
        while place < _TOPS and field <= values:
            packed |= image[field] >> _TOP << place
            place += _EIGHT
            field += 1
        image[top] = packed
    rest = image[1]
    for table in range(TABLES):
        cell = ((rest & _SLICE_MASK) * np.uint64(size) >> _SLICE) + np.uint64(table * size)
        rest >>= _SLICE
        sums = words_at(sketch + 8 * width * np.int64(cell))
        for n in range(width):
            sums[n] += image[n]


def add(  # type: ignore[no-untyped-def]
    abouts, columns, keyed, rows, keys, key, bits, shift, size, width, chunk, scratch, all_totals, all_hashes,
    all_counts, all_fine, coarse, sketch,
):  # fmt: skip
    """Add rows to all sums. Everything is an int64: an address or a number.

    Args:
        abouts: What the `columns` are, shape (columns, FIELDS). `keyed`: whether some of them are the key.
        keys: Words of the key's columns for the sketch, shape (key, rows), two per column of the key.
        bits, shift: Of the buckets, and from them to the coarse ones.
        size, width: Cells in each of the sketch's three tables, 0 for no sketch; words of a cell and of a row's image.
        chunk: Rows at a time. `scratch` has 3 + width words for each of them.
        all_totals: Both lanes, of the rows and then of each column. Added to, as are `counts`, `fine` (buckets,),
            `coarse` (coarse buckets, columns) and `sketch` (cells, width).
        all_hashes: Takes the rows' hashes in lane 0, shape (rows,).
    """
    sums0, sums1, by = words_at(scratch), words_at(scratch + 8 * chunk), words_at(scratch + 16 * chunk)
    images, key_words, totals = scratch + 24 * chunk, words_at(keys), words_at(all_totals)
    hashes, counts, fine = words_at(all_hashes), words_at(all_counts), words_at(all_fine)
    for start in range(0, rows, chunk):
        some = min(chunk, rows - start)
        for n in range(some):
            sums0[n] = _ZERO
            sums1[n] = _ZERO
            by[n] = _ZERO
        for c in range(columns):
            _column(
                counts_at(abouts + 8 * FIELDS * c), start, some, words_at(images + 8 * (2 + c)), width,
                sums0, sums1, by, words_at(all_totals + 16 * (1 + c)),
            )  # fmt: skip
        for n in range(some):
            row = _mix(sums0[n])
            totals[0] += row
            totals[1] += _mix(sums1[n])
            hashes[start + n] = row
            bucket = _ZERO
            if bits != 0:
                bucket = _mix(by[n] if keyed != 0 else row) >> (_BITS - np.uint64(bits))
            counts[bucket] += _ONE
            fine[bucket] += row
            image = words_at(images + 8 * width * n)
            group = words_at(coarse + 8 * columns * np.int64(bucket >> np.uint64(shift)))
            for c in range(columns):
                group[c] += image[2 + c]
            if size != 0:
                image[1] = row
                for k in range(key):
                    image[2 + columns + k] = key_words[k * rows + start + n]
                _add_image(image, width, columns, key, size, sketch)
    return rows


LOOPS = {"add": (add, 18), "xxh3_128": (xxh3_128, 6)}  # name: loop, how many int64 it takes
