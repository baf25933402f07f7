"""Which row of the copy was which row of the source, when both have rows that the other lacks?

With a key, rows of one key belong together. Without one, a pair is the two rows with the most equal cells, at least
half of them: what is below that is a row missing and another one extra.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.comparison.fetching import rows_at
from reversible.comparison.hashing import Positions, Words, cell_hashes
from reversible.comparison.tables import Table
from reversible.fingerprint import Cells

_MOST_BY_TRIAL = 4000  # rows per side that are held against each other one by one: 16 million row pairs
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Rows:
    """Some rows of a table in memory: where they stand, their cells, their cells' hashes, shape (rows, columns)."""

    positions: Positions
    cells: dict[str, Cells]
    hashes: Words


@dataclass(frozen=True)
class Pairs:
    """Rows by their number in the two `Rows`: `left[n]` became `right[n]`; the others have no partner."""

    left: Positions
    right: Positions
    left_alone: Positions
    right_alone: Positions


def load(table: Table, positions: Positions, challenge: str, row_hashes: Words | None = None) -> Rows:
    """Read the rows at these ascending positions, whose hashes the first reading gave."""
    names = [column.name for column in table.columns]
    values: dict[str, list[pa.Array]] = {name: [] for name in names}
    odd: dict[str, dict[int, str]] = {name: {} for name in names}
    hashes = np.empty((len(positions), len(names)), np.uint64)
    done = 0
    for batch, here in rows_at(table, positions, challenge, row_hashes):
        for n, column in enumerate(table.columns):
            cells = batch[column.name]
            hashes[done : done + len(here), n] = cell_hashes(challenge, column, cells)
            plain = cells.values.dictionary_decode() if pa.types.is_dictionary(cells.values.type) else cells.values
            values[column.name].append(plain)
            odd[column.name] |= {row + done: text for row, text in cells.exceptions.items()}
        done += len(here)
    joined = {name: Cells(pa.concat_arrays(arrays), odd[name]) for name, arrays in values.items() if arrays}
    return Rows(positions, joined, hashes)


def by_key(left: Rows, right: Rows, left_keys: Words, right_keys: Words) -> Pairs:
    """Pair rows whose key's hash is one; several rows of one key by the most equal cells."""
    one, at_left, many_left = np.unique(left_keys, return_index=True, return_counts=True)
    other, at_right, many_right = np.unique(right_keys, return_index=True, return_counts=True)
    common, in_left, in_right = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    single = (many_left[in_left] == 1) & (many_right[in_right] == 1)
    pairs = [(at_left[in_left[single]], at_right[in_right[single]])]
    for word in common[~single]:
        mine, theirs = np.flatnonzero(left_keys == word), np.flatnonzero(right_keys == word)
        found = list(_closest(left.hashes[mine], right.hashes[theirs], least=0))
        pairs.append((mine[[a for a, _ in found]], theirs[[b for _, b in found]]))
    return _with_rest(pairs, len(left_keys), len(right_keys))


def by_likeness(left: Rows, right: Rows) -> tuple[Pairs, int]:
    """Pair rows without a key; also how many rows of the smaller side were left, too many to hold together."""
    mine, theirs = np.arange(len(left.hashes)), np.arange(len(right.hashes))
    pairs: list[tuple[Positions, Positions]] = []
    width = left.hashes.shape[1]
    if width > 1:
        # Rows that differ in one column alone: a join per column, those first whose values as a whole are others.
        same = left.hashes.sum(axis=0, dtype=np.uint64) == right.hashes.sum(axis=0, dtype=np.uint64)
        for column in sorted(range(width), key=lambda n: bool(same[n])):
            a, b = _one_to_one(_without(left.hashes[mine], column), _without(right.hashes[theirs], column))
            pairs.append((mine[a], theirs[b]))
            mine, theirs = np.delete(mine, a), np.delete(theirs, b)
    skipped = 0
    if max(len(mine), len(theirs)) > _MOST_BY_TRIAL:
        skipped = min(len(mine), len(theirs))
    else:
        found = list(_closest(left.hashes[mine], right.hashes[theirs], least=max(1, -(-width // 2))))
        pairs.append((mine[[a for a, _ in found]], theirs[[b for _, b in found]]))
    return _with_rest(pairs, len(left.hashes), len(right.hashes)), skipped


def _without(hashes: Words, column: int) -> Words:
    total: Words = hashes.sum(axis=1, dtype=np.uint64) - hashes[:, column]
    return total


def _one_to_one(left: Words, right: Words) -> tuple[Positions, Positions]:
    """Positions of equal words; of several equal ones as many as both sides have, in order."""
    places: dict[int, list[int]] = defaultdict(list)
    for n in np.flatnonzero(np.isin(right, left)).tolist():
        places[int(right[n])].append(n)
    a, b = [], []
    for n in np.flatnonzero(np.isin(left, right)).tolist():
        if waiting := places.get(int(left[n])):
            a.append(n)
            b.append(waiting.pop(0))
    return np.array(a, np.int64), np.array(b, np.int64)


def _closest(left: Words, right: Words, *, least: int) -> Iterator[tuple[int, int]]:
    """Greedy: the two rows with the most equal cells first, as long as they share `least` cells."""
    if not len(left) or not len(right):
        return
    scored: list[tuple[int, int, int]] = []
    for a, cells in enumerate(left):
        equal = (right == cells).sum(axis=1)
        best = np.argsort(-equal, kind="stable")[:64]
        scored += [(-int(equal[b]), a, int(b)) for b in best if equal[b] >= least]
    used_left: set[int] = set()
    used_right: set[int] = set()
    for _, a, b in sorted(scored):
        if a not in used_left and b not in used_right:
            used_left.add(a)
            used_right.add(b)
            yield a, b
    if least == 0:  # one key: whoever is left is a pair all the same
        rest = [b for b in range(len(right)) if b not in used_right]
        yield from zip((a for a in range(len(left)) if a not in used_left), rest, strict=False)


def from_pairs(left: Positions, right: Positions, lefts: int, rights: int) -> Pairs:
    """These pairs of rows; of `lefts` and `rights` rows the others have no partner."""
    return Pairs(left, right, _others(left, lefts), _others(right, rights))


def _with_rest(pairs: list[tuple[Positions, Positions]], lefts: int, rights: int) -> Pairs:
    left = np.concatenate([_NONE, *(a for a, _ in pairs)]).astype(np.int64)
    right = np.concatenate([_NONE, *(b for _, b in pairs)]).astype(np.int64)
    return from_pairs(left, right, lefts, rights)


def _others(chosen: Positions, count: int) -> Positions:
    free: npt.NDArray[np.bool_] = np.ones(count, np.bool_)
    free[chosen] = False
    return np.flatnonzero(free)
