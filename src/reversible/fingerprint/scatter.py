"""How are hashes added up by group, and cells hashed, with numpy alone? `kernels.py` has the same for numba.

Sums are modulo 2**64 throughout, so the order of additions never shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from reversible.fingerprint.families import parse
from reversible.fingerprint.mixing import LANES, Counts, Words, cell, mix_into, one_cell, seed
from reversible.fingerprint.plan import Column, Plan
from reversible.fingerprint.sketch import TOP_SHIFT, TOPS, Layout, places
from reversible.fingerprint.words import Encoded, Odd, encode

_BLOCK = 1 << 13  # words that stay in the processor's nearest cache through the passes of a mix
_RANGE = 1 << 13  # integers in a range up to this are hashed once each and looked up


class Pieces(NamedTuple):
    """What a state has summed. Shapes: `total` (2,), `columns` (columns, 2), `counts` and `fine` (buckets,), `coarse`
    (coarse buckets, columns), `sketch` (cells, width)."""

    total: Words
    columns: Words
    counts: Counts
    fine: Words
    coarse: Words
    sketch: Words


@dataclass(frozen=True)
class Seeds:
    """A column's seeds by kind and lane, drawn once."""

    challenge: str
    column: Column
    value: tuple[np.uint64, ...]
    null: tuple[np.uint64, ...]

    @classmethod
    def of(cls, challenge: str, column: Column) -> "Seeds":
        kind = parse(column.family).seeded
        value, null = (
            tuple(seed(challenge, column.name, one, lane) for lane in range(LANES)) for one in (kind, "null")
        )
        return cls(challenge, column, value, tuple(one_cell(0, 0, start) for start in null))

    def odd(self, values: Odd, lane: int) -> Words:
        """Their cells, shape (values,)."""
        return cell(values.low, values.high, seed(self.challenge, self.column.name, values.kind, lane))


def hash_column(encoded: Encoded, seeds: Seeds, cells: Words, sums: Words) -> Words:
    """Put the cells of lane 0 into `cells`, add both lanes to the rows' `sums`; the column's own sums, shape (2,).

    Shapes: `cells` (rows,), `sums` (2, rows).
    """
    encoded = _looked_up(encoded)
    found = np.zeros(LANES, np.uint64)
    for lane in range(LANES):
        one = hashed(encoded, seeds, lane)
        if encoded.index is not None:
            one = one.take(encoded.index)
        np.add(sums[lane], one, out=sums[lane])
        found[lane] = one.sum(dtype=np.uint64)
        if lane == 0:
            cells[:] = one
    return found


def _looked_up(encoded: Encoded) -> Encoded:
    """Integers that lie close together (days, quantities, codes) as a dictionary: two look-ups instead of two mixes."""
    count = len(encoded.low)
    if encoded.index is not None or encoded.high is not None or encoded.odd or encoded.null is not None or not count:
        return encoded
    values = encoded.low.view(np.int64)
    sample = values[:: max(1, count // 64)]
    if int(sample.max()) - int(sample.min()) > min(_RANGE, count // 4):
        return encoded
    first, last = int(values.min()), int(values.max())
    if last - first > min(_RANGE, count // 4):
        return encoded
    low = np.arange(first, last + 1, dtype=np.int64).view(np.uint64)
    return Encoded(low, index=values - np.int64(first))


def hashed(encoded: Encoded, seeds: Seeds, lane: int) -> Words:
    """The cells of one lane; of a dictionary, its entries'."""
    low, high = encoded.low, encoded.high
    found = np.empty(len(low), np.uint64)
    for start in range(0, len(low), _BLOCK):
        end = start + _BLOCK
        cell(low[start:end], None if high is None else high[start:end], seeds.value[lane], out=found[start:end])
    for one in encoded.odd:
        found[one.places] = seeds.odd(one, lane)
    if encoded.null is not None:
        found[encoded.null] = seeds.null[lane]
    return found


def mix_rows(sums: Words) -> None:
    """The rows' hashes from the sums of their cells, in place."""
    scratch = np.empty(min(_BLOCK, sums.shape[1]), np.uint64)
    for lane in range(LANES):
        for start in range(0, sums.shape[1], _BLOCK):
            part = sums[lane, start : start + _BLOCK]
            mix_into(part, scratch[: len(part)])


def buckets(plan: Plan, cells: Words, rows: Words) -> Words:
    """By the key's hash, or the row's where there is no key: the high bits of one more mix."""
    if plan.bits == 0:
        return np.zeros(len(rows), np.uint64)
    by = cells[list(plan.key_places)].sum(axis=0, dtype=np.uint64) if plan.key else rows.copy()
    return mix_into(by, None) >> np.uint64(64 - plan.bits)


class NumpySums:
    """All sums in the making; a field at a time, since `np.add.at` is fast on one dimension only."""

    block_rows = 1 << 14

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._families = [parse(column.family) for column in plan.columns]
        self._seeds = [Seeds.of(plan.challenge, column) for column in plan.columns]
        self._keys = plan.key_places if plan.sketch else ()
        self._cells = np.empty((len(plan.columns), self.block_rows), np.uint64)
        self._total = np.zeros(LANES, np.uint64)
        self._columns = np.zeros((len(plan.columns), LANES), np.uint64)
        self._counts = np.zeros(plan.buckets, np.int64)
        self._fine = np.zeros(plan.buckets, np.uint64)
        self._coarse = np.zeros((len(plan.columns), plan.buckets >> plan.coarse_shift), np.uint64)
        self._sketch = np.zeros((Layout.of(plan).width, plan.sketch), np.uint64)

    def add(self, block: Sequence[tuple[pa.Array, Odd | None]], rows: int) -> Words:
        """Hash a block of rows and add it up. Its cells lie in one piece of memory that all blocks share."""
        cells = self._cells[:, :rows]
        sums = np.zeros((LANES, rows), np.uint64)
        keys = np.empty((2 * len(self._keys), rows), np.uint64)
        for n, (values, odd) in enumerate(block):
            encoded = encode(values, self._families[n], self._plan.challenge).with_odd(odd)
            self._columns[n] += hash_column(encoded, self._seeds[n], cells[n], sums)
            if n in self._keys:
                place = 2 * self._keys.index(n)
                keys[place], keys[place + 1] = encoded.shown()
        mix_rows(sums)
        self._total += sums.sum(axis=1, dtype=np.uint64)
        hashes: Words = sums[0]
        self._scatter(buckets(self._plan, cells, hashes), hashes, cells, keys)
        return hashes

    def pieces(self) -> Pieces:
        coarse, sketch = (np.ascontiguousarray(one.T) for one in (self._coarse, self._sketch))
        return Pieces(self._total, self._columns, self._counts, self._fine, coarse, sketch)

    def _scatter(self, at: Words, rows: Words, cells: Words, keys: Words) -> None:
        bucket = at.astype(np.int64)
        self._counts += np.bincount(bucket, minlength=self._plan.buckets)
        np.add.at(self._fine, bucket, rows)
        bucket >>= self._plan.coarse_shift
        for n in range(len(cells)):
            np.add.at(self._coarse[n], bucket, cells[n])
        if self._plan.sketch:
            self._add_images([rows, *cells, *keys])

    def _add_images(self, values: Sequence[Words]) -> None:
        tops = np.zeros((len(self._sketch) - 1 - len(values), len(values[0])), np.uint64)
        for n, value in enumerate(values):
            tops[n // TOPS] |= value >> np.uint64(TOP_SHIFT) << np.uint64(8 * (n % TOPS))
        for at in places(values[0], self._plan.sketch):
            where = at.astype(np.int64)
            self._sketch[0] += np.bincount(where, minlength=self._plan.sketch).astype(np.uint64)
            for field, value in enumerate([*values, *tops], start=1):
                np.add.at(self._sketch[field], where, value)
