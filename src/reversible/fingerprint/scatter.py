"""How are hashes added up by group, and cells hashed, with numpy alone? `kernels.py` has the same for numba.

Sums are modulo 2**64 throughout, so the order of additions never shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reversible.fingerprint.families import parse
from reversible.fingerprint.mixing import LANES, Words, cell, mix_into, one_cell, seed
from reversible.fingerprint.plan import Column, Plan
from reversible.fingerprint.sketch import TOP_SHIFT, TOPS, Layout, places
from reversible.fingerprint.words import Encoded

_BLOCK = 1 << 13  # words that stay in the processor's nearest cache through the passes of a mix
_RANGE = 1 << 13  # integers in a range up to this are hashed once each and looked up


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

    def odd(self, one: tuple[str, int, int], lane: int) -> np.uint64:
        kind, low, high = one
        return one_cell(low, high, seed(self.challenge, self.column.name, kind, lane))


def hash_column(encoded: Encoded, seeds: Seeds, cells: Words, sums: Words) -> Words:
    """Put the cells of lane 0 into `cells`, add both lanes to the rows' `sums`; the column's own sums, shape (2,).

    Shapes: `cells` (rows,), `sums` (2, rows).
    """
    encoded = _looked_up(encoded)
    found = np.zeros(LANES, np.uint64)
    for lane in range(LANES):
        hashed = _hashed(encoded, seeds, lane)
        if encoded.index is not None:
            hashed = hashed[encoded.index]
        np.add(sums[lane], hashed, out=sums[lane])
        found[lane] = hashed.sum(dtype=np.uint64)
        if lane == 0:
            cells[:] = hashed
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


def _hashed(encoded: Encoded, seeds: Seeds, lane: int) -> Words:
    low, high = encoded.low, encoded.high
    found = np.empty(len(low), np.uint64)
    for start in range(0, len(low), _BLOCK):
        end = start + _BLOCK
        cell(low[start:end], None if high is None else high[start:end], seeds.value[lane], out=found[start:end])
    for place, one in encoded.odd.items():
        found[place] = seeds.odd(one, lane)
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


@dataclass(frozen=True)
class Groups:
    """Rows by group: `order` sorts them, group `present[n]` begins at `starts[n]` of the order."""

    order: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    present: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, at: Words, groups: int) -> "Groups":
        narrow = at.astype(np.uint8 if groups <= 1 << 8 else np.uint16 if groups <= 1 << 16 else np.uint32)
        counts = np.bincount(at.astype(np.int64), minlength=groups)
        present = np.flatnonzero(counts)
        return cls(narrow.argsort(kind="stable"), (np.cumsum(counts) - counts)[present], present, counts)

    def sums(self, values: Words) -> Words:
        """The sum of each present group."""
        return np.add.reduceat(values.take(self.order), self.starts)


def add_grids(plan: Plan, at: Words, rows: Words, cells: Words, counts: npt.NDArray[np.int64], fine: Words,
              coarse: Words) -> None:  # fmt: skip
    """Add the rows to both grids. Shapes: counts, fine (buckets,); coarse (columns, coarse buckets)."""
    groups = Groups.of(at, plan.buckets)
    counts += groups.counts
    fine[groups.present] += groups.sums(rows)
    parent = groups.present >> plan.coarse_shift
    first = np.flatnonzero(np.concatenate([[True], parent[1:] != parent[:-1]]))
    wide = Groups(groups.order, groups.starts[first], parent[first], groups.counts)
    for n in range(len(plan.columns)):
        coarse[n, wide.present] += wide.sums(cells[n])


def add_sketch(plan: Plan, rows: Words, cells: Words, keys: Sequence[Words], sketch: Words) -> None:
    """Add the rows' images to the sketch. Shape of `sketch`: (width, cells)."""
    values = [rows, *cells, *keys]
    tops = [np.zeros(len(rows), np.uint64) for _ in range(Layout.of(plan).width - 1 - len(values))]
    for n, value in enumerate(values):
        tops[n // TOPS] |= value >> np.uint64(TOP_SHIFT) << np.uint64(8 * (n % TOPS))
    size = plan.sketch // 3
    for n, at in enumerate(places(rows, plan.sketch)):
        groups = Groups.of(at - np.uint64(n * size), size)
        here = sketch[:, n * size : (n + 1) * size]
        here[0] += groups.counts.astype(np.uint64)
        for field, value in enumerate([*values, *tops], start=1):
            here[field, groups.present] += groups.sums(value)
