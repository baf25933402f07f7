"""What are the hashes of the cells and rows of one table, and which rows has one table that the other lacks?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reversible import fingerprint
from reversible.comparison.tables import Table
from reversible.fingerprint import Accumulator, Cells, Column, Plan

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]  # what, rows done, rows in all


def quiet(what: str, done: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class Hashed:
    """One pass over a table: the sums of its fingerprint, and lane 0 of each row's hash, in the order of the files.

    Shapes: `total` (2,), `columns` (columns, 2), `rows` (rows,).
    """

    total: Words
    columns: Words
    rows: Words

    @property
    def digest(self) -> str:
        """As `TableFingerprint.digest`: the rows' sum, both lanes, 32 hex digits."""
        return "".join(f"{int(lane):016x}" for lane in self.total)


def hashed(table: Table, challenge: str, progress: Progress = quiet) -> Hashed:
    """Read the table once."""
    found = Accumulator(Plan(challenge, table.columns, sketch=0))
    rows = np.empty(table.rows, np.uint64)
    done = 0
    for batch, count in table.batches():
        rows[done : done + count] = found.add(batch, count)
        done += count
        progress(table.name, done, table.rows)
    sums = found.result()
    return Hashed(sums.total, sums.columns, rows)


def cell_hashes(challenge: str, column: Column, cells: Cells) -> Words:
    """Lane 0 of the cells of one column; shape (rows,)."""
    found: Words = fingerprint.cell_hashes(challenge, column, cells)[0]
    return found


def key_hashes(challenge: str, columns: Sequence[Column], batch: Mapping[str, Cells], rows: int) -> Words:
    """One word per row over the key's cells: equal keys, equal words; NULL is a value like others."""
    total = np.zeros(rows, np.uint64)
    for column in columns:
        total += cell_hashes(challenge, column, batch[column.name])
    return fingerprint.mix(total)


def only_left(left: Words, right: Words) -> tuple[Positions, npt.NDArray[np.bool_]]:
    """The rows of `left` beyond those of `right`, as multisets: positions, and whether `right` has the row at all.

    A row that stands three times on the left and once on the right gives its last two positions, marked True.
    """
    suspects = _in_differing_buckets(left, right)
    mine, other = left[suspects], np.sort(right[_in_differing_buckets(right, left)])
    order = np.argsort(mine, kind="stable")
    mine = mine[order]
    starts = np.flatnonzero(np.concatenate([[True], mine[1:] != mine[:-1]])) if len(mine) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(mine)))
    there = np.searchsorted(other, mine[starts], "right") - np.searchsorted(other, mine[starts], "left")
    surplus = counts - there
    late = np.arange(len(mine)) - np.repeat(starts, counts) >= np.repeat(there, counts)
    known = np.repeat(there > 0, counts)
    assert int(late.sum()) == int(surplus[surplus > 0].sum())  # noqa: S101 - a count that cannot be wrong, or a bug
    chosen = order[late]
    by_position = np.argsort(suspects[chosen])
    return suspects[chosen][by_position], known[late][by_position]


def _in_differing_buckets(mine: Words, other: Words) -> Positions:
    """Positions of the rows whose bucket (the hash's first 16 bits) differs: few, when few rows differ."""
    differs = _bucket_sums(mine) != _bucket_sums(other)
    return np.flatnonzero(differs[_buckets(mine)])


def _buckets(rows: Words) -> npt.NDArray[np.uint16]:
    return np.asarray(rows >> np.uint64(48)).astype(np.uint16)


def _bucket_sums(rows: Words) -> Words:
    """Sums of the hashes by bucket. Within one bucket the sum is as good as the table's own."""
    sums = np.zeros(1 << 16, np.uint64)
    for start in range(0, len(rows), 1 << 20):
        part = rows[start : start + (1 << 20)]
        np.add.at(sums, _buckets(part), part)
    return sums
