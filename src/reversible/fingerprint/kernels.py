"""How are rows hashed and added up at the machine's speed? One loop over a batch, while its rows are in the cache.

Plain Python that `compiled.py` has numba compile once per machine; no other module imports this one. It does what
`scatter.py` does with numpy, and tests hold both to the same digests. Arrays come as addresses, all words are uint64,
modulo 2**64. Nothing here may raise, or allocate: the compiled code stands alone, without numba.
"""

import numpy as np

from reversible.fingerprint.compiled import CELLS, CELLS32, FIELDS, INTS, PAIRS, SCRATCH
from reversible.fingerprint.kernels_memory import counts_at, fetch, flags_at, ints_at, part, words_at
from reversible.fingerprint.kernels_xxh3 import xxh3_128
from reversible.fingerprint.mixing import GAMMA, M1, M2
from reversible.fingerprint.sketch import SLICE_BITS, TABLES, TOP_SHIFT, TOPS

_GAMMA, _M1, _M2 = np.uint64(GAMMA), np.uint64(M1), np.uint64(M2)
_S30, _S27, _S31, _TOP_BIT, _BITS = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(63), np.uint64(64)
_ZERO, _ONE, _EIGHT, _TOPS = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(8 * TOPS)
_TOP, _SLICE, _SLICE_MASK = np.uint64(TOP_SHIFT), np.uint64(SLICE_BITS), np.uint64((1 << SLICE_BITS) - 1)
_CACHE_LINE = 64  # bytes


@part
def _mix(x):  # type: ignore[no-untyped-def]
    x = x + _GAMMA
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@part
def _load(about, start, rows, low, high):  # type: ignore[no-untyped-def]
    """The words of one column's chunk of rows, 0 and 0 for NULL; gives the bits that are set in some high word."""
    form, lows, ints = about[0], words_at(about[2]), ints_at(about[2])
    highs, flags = words_at(about[3]), flags_at(about[4])
    some = _ZERO
    for n in range(rows):
        high[n] = _ZERO
    if form == PAIRS:  # 128 bits: the high word is what a signed low word lacks
        for n in range(rows):
            low[n] = lows[2 * (start + n)]
            high[n] = lows[2 * (start + n) + 1] + (low[n] >> _TOP_BIT)
    elif form == INTS:
        for n in range(rows):
            low[n] = np.uint64(np.int64(ints[start + n]))
    else:
        for n in range(rows):
            low[n] = lows[start + n]
        if about[3] != 0:
            for n in range(rows):
                high[n] = highs[start + n]
    if about[4] != 0:
        for n in range(rows):
            if flags[start + n] != 0:
                low[n] = _ZERO
                high[n] = _ZERO
    for n in range(rows):
        some |= high[n]
    return some


@part
def _hash(about, start, rows, low, high, lane0, lane1):  # type: ignore[no-untyped-def]
    """Both lanes of one column's cells."""
    if about[0] == CELLS:
        cells0, cells1, index = words_at(about[2]), words_at(about[3]), counts_at(about[4])
        for n in range(rows):
            place = start + n
            if about[4] != 0:
                place = index[place]
            lane0[n] = cells0[place]
            lane1[n] = cells1[place]
    elif about[0] == CELLS32:
        cells0, cells1, index32 = words_at(about[2]), words_at(about[3]), ints_at(about[4])
        for n in range(rows):
            lane0[n] = cells0[index32[start + n]]
            lane1[n] = cells1[index32[start + n]]
    else:
        some = _load(about, start, rows, low, high)
        seed0, seed1, flags = np.uint64(about[5]), np.uint64(about[6]), flags_at(about[4])
        for n in range(rows):
            lane0[n] = _mix(low[n] + seed0)
            lane1[n] = _mix(low[n] + seed1)
        if some != _ZERO:
            for n in range(rows):
                if high[n] != _ZERO:
                    lane0[n] = _mix(lane0[n] ^ high[n])
                    lane1[n] = _mix(lane1[n] ^ high[n])
        if about[4] != 0:
            for n in range(rows):
                if flags[start + n] != 0:
                    lane0[n] = np.uint64(about[7])
                    lane1[n] = np.uint64(about[8])


@part
def _key_words(about, start, rows, low, high, image, width):  # type: ignore[no-untyped-def]
    """Put both words of a key's column into the images."""
    if about[10] != 0:
        words, count = words_at(about[10]), about[11]
        for n in range(rows):
            low[n] = words[start + n]
            high[n] = words[count + start + n]
    for n in range(rows):
        image[n * width] = low[n]
        image[n * width + 1] = high[n]


@part
def _add_images(images, rows, values, width, hashes, size, sketch):  # type: ignore[no-untyped-def]
    """Complete the images of a chunk of rows, and add each to its three cells of the sketch."""
    for n in range(rows):
        image = words_at(images + 8 * width * n)
        image[0] = _ONE
        image[1] = hashes[n]
        for top in range(values + 1, width):
            image[top] = _ZERO
        place, top = _ZERO, values + 1
        for field in range(1, values + 1):
            image[top] |= image[field] >> _TOP << place
            place += _EIGHT
            if place == _TOPS:
                place = _ZERO
                top += 1
    for n in range(rows):
        image, rest = words_at(images + 8 * width * n), hashes[n]
        for table in range(TABLES):
            cell = ((rest & _SLICE_MASK) * np.uint64(size) >> _SLICE) + np.uint64(table * size)
            rest >>= _SLICE
            sums = words_at(sketch + 8 * width * np.int64(cell))
            for w in range(width):
                sums[w] += image[w]


def add(  # type: ignore[no-untyped-def]
    abouts, columns, keyed, key, rows, bits, shift, size, width, chunk, scratch, all_totals, all_hashes, grid, coarse,
    sketch,
):  # fmt: skip
    """Add rows to all sums. Everything is an int64: an address or a number.

    Args:
        abouts: What the `columns` are, shape (columns, FIELDS). `keyed`: whether some of them are the key.
        key: Words of the key's columns in the sketch, two for each.
        bits, shift: Of the buckets, and from them to the coarse ones.
        size, width: Cells in each of the sketch's three tables, 0 for no sketch; words of a cell and of a row's image.
        chunk: Rows at a time. `scratch` has SCRATCH + width words for each of them.
        all_totals: Both lanes, of the rows and then of each column. Added to, as are `grid` (buckets, 2: rows and
            their sum), `coarse` (coarse buckets, columns) and `sketch` (cells, width).
        all_hashes: Takes the rows' hashes in lane 0, shape (rows,).
    """
    step = 8 * chunk
    sums0, sums1, by, buckets = (
        words_at(scratch), words_at(scratch + step), words_at(scratch + 2 * step), counts_at(scratch + 3 * step)
    )  # fmt: skip
    low, high, lane0, lane1 = (
        words_at(scratch + 4 * step), words_at(scratch + 5 * step), words_at(scratch + 6 * step),
        words_at(scratch + 7 * step),
    )  # fmt: skip
    images, totals = scratch + SCRATCH * step, words_at(all_totals)
    for start in range(0, rows, chunk):
        some = min(chunk, rows - start)
        hashes = words_at(all_hashes + 8 * start)
        for n in range(some):
            sums0[n] = _ZERO
            sums1[n] = _ZERO
            by[n] = _ZERO
        for c in range(columns):
            about, image = counts_at(abouts + 8 * FIELDS * c), words_at(images + 8 * (2 + c))
            _hash(about, start, some, low, high, lane0, lane1)
            total0 = total1 = _ZERO
            for n in range(some):
                image[n * width] = lane0[n]
                sums0[n] += lane0[n]
                sums1[n] += lane1[n]
                total0 += lane0[n]
                total1 += lane1[n]
            totals[2 * c + 2] += total0
            totals[2 * c + 3] += total1
            if about[1] != 0:
                for n in range(some):
                    by[n] += lane0[n]
            if about[9] != 0:
                _key_words(about, start, some, low, high, words_at(images + 8 * about[9]), width)
        total0 = total1 = _ZERO
        for n in range(some):
            hashes[n] = _mix(sums0[n])
            total0 += hashes[n]
            total1 += _mix(sums1[n])
        totals[0] += total0
        totals[1] += total1
        for n in range(some):
            bucket = _ZERO
            if bits != 0:
                bucket = _mix(by[n] if keyed != 0 else hashes[n]) >> (_BITS - np.uint64(bits))
            buckets[n] = np.int64(bucket)
            fetch(grid + 16 * buckets[n])
            for line in range(0, 8 * columns, _CACHE_LINE):
                fetch(coarse + 8 * columns * (buckets[n] >> shift) + line)
        both = words_at(grid)
        for n in range(some):
            both[2 * buckets[n]] += _ONE
            both[2 * buckets[n] + 1] += hashes[n]
        for n in range(some):
            sums, image = words_at(coarse + 8 * columns * (buckets[n] >> shift)), words_at(images + 8 * (width * n + 2))
            for c in range(columns):
                sums[c] += image[c]
        if size != 0:
            _add_images(images, some, 1 + columns + key, width, hashes, size, sketch)
    return rows


LOOPS = {"add": (add, 16), "xxh3_128": (xxh3_128, 7)}  # name: loop, how many int64 it takes
