"""How are batches hashed and added up, one after the other, and what are the hashes of single cells and rows?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from reversible.fingerprint import accelerator, scatter
from reversible.fingerprint.families import parse
from reversible.fingerprint.mixing import LANES, Words, mix
from reversible.fingerprint.plan import Cells, Column, Plan
from reversible.fingerprint.sums import TableFingerprint
from reversible.fingerprint.words import Odd, encode


class Accumulator:
    """Adds batches up in place: what `fingerprint` does, for a caller who has them one by one.

    Args:
        plan: What both sides agreed on.
        engine: The code that adds up; every one gives the same sums.
    """

    def __init__(self, plan: Plan, engine: accelerator.Choice = "auto") -> None:
        self.plan = plan
        self._engine = engine
        self._states: dict[str, accelerator.Sums] = {}
        self._rows = 0

    def add(self, batch: Mapping[str, Cells], rows: int | None = None) -> Words:
        """Add a batch, which maps every column of the plan to its cells. `rows` is needed when there is no column.

        Returns:
            The rows' hashes in lane 0, shape (rows,): equal rows, equal hashes.

        Raises:
            ValueError: a column has another length, or values of another family.
        """
        if rows is None:
            rows = len(next(iter(batch.values())).values)
        columns = [batch[column.name] for column in self.plan.columns]
        for column, cells in zip(self.plan.columns, columns, strict=True):
            if len(cells.values) != rows:
                raise ValueError(f"column {column.name} has {len(cells.values)} values in a batch of {rows} rows")
        state = self._state((self._rows + rows) * len(columns))
        whole = [(one.values, _odd(one, self.plan.challenge)) for one in columns]
        if rows <= state.block_rows:
            hashes = state.add(whole, rows)
        else:
            hashes = np.empty(rows, np.uint64)
            for start in range(0, rows, state.block_rows):
                count = min(state.block_rows, rows - start)
                block = [(values.slice(start, count), odd and odd.cut(start, count)) for values, odd in whole]
                hashes[start : start + count] = state.add(block, count)
        self._rows += rows
        return hashes

    def result(self) -> TableFingerprint:
        """The fingerprint of all batches so far."""
        found: TableFingerprint = TableFingerprint.empty(self.plan)
        for state in self._states.values():
            pieces = state.pieces()
            for sums, more in zip(
                (found.total, found.columns, found.counts, found.sums, found.coarse), pieces, strict=False
            ):
                sums += more
            if found.sketch is not None:
                found.sketch.words[:] += pieces.sketch
        return replace(found, rows=self._rows)

    def _state(self, cells: int) -> accelerator.Sums:
        name = accelerator.choose(self.plan, cells, self._engine)
        if name not in self._states:
            self._states[name] = accelerator.sums(self.plan, name)
        return self._states[name]


def fingerprint(
    plan: Plan, batches: Iterable[Mapping[str, Cells]], rows: Iterable[int] | None = None
) -> TableFingerprint:
    """The sum over the batches; each maps every column of the plan to its cells.

    Args:
        plan: What both sides agreed on.
        batches: The cells of each batch, by column name.
        rows: The rows of each batch, needed only when there are no columns.
    """
    found = Accumulator(plan)
    if rows is None:
        for batch in batches:
            found.add(batch)
    else:
        for batch, count in zip(batches, rows, strict=True):
            found.add(batch, count)
    return found.result()


def cell_hashes(challenge: str, column: Column, cells: Cells) -> Words:
    """One hash per cell and lane, shape (2, rows)."""
    encoded = encode(cells.values, parse(column.family), challenge).with_odd(_odd(cells, challenge))
    found = np.empty((LANES, len(cells.values)), np.uint64)
    sums = np.zeros_like(found)
    scatter.hash_column(encoded, scatter.Seeds.of(challenge, column), found[0], sums)
    return sums


def row_hashes(challenge: str, columns: Sequence[tuple[Column, Cells]]) -> Words:
    """One 64-bit hash per row over these columns, whose order does not count: equal rows, equal hashes."""
    total = np.zeros(len(columns[0][1].values), np.uint64)
    for column, cells in columns:
        total += cell_hashes(challenge, column, cells)[0]
    return mix(total)


def bucket_of_rows(plan: Plan, batch: Mapping[str, Cells]) -> Words:
    """The bucket of each row of a batch that has all columns of the plan."""
    if not plan.columns:
        return np.zeros(0, np.uint64)
    cells = np.stack([cell_hashes(plan.challenge, one, batch[one.name])[0] for one in plan.columns])
    return scatter.buckets(plan, cells, mix(cells.sum(axis=0, dtype=np.uint64)))


def _odd(cells: Cells, challenge: str) -> Odd | None:
    return Odd.of_texts(cells.exceptions, challenge) if cells.exceptions else None
