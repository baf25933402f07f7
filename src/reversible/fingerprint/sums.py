"""What are the sums of a table: over all of it, by column, by bucket?

Sums, never XOR: duplicated rows and uniform shifts do not cancel. Sums add: parts are hashed apart, in any order, on
any number of machines.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pyarrow as pa

from reversible.fingerprint import accelerator, scatter
from reversible.fingerprint.families import Family, parse
from reversible.fingerprint.mixing import LANES, Counts, Words, mix
from reversible.fingerprint.plan import Cells, Column, Plan
from reversible.fingerprint.sketch import Sketch
from reversible.fingerprint.words import Encoded, encode, text_words

_GRIDS = ("counts", "sums", "coarse")
_BLOCK_ROWS = 1 << 14  # rows whose hashes are made and added up at a time


@dataclass(frozen=True)
class TableFingerprint:
    """The sums of one table, or of a part of it: `merge` adds parts in any order.

    Shapes: `total` (2,), `columns` (columns, 2), `counts` and `sums` (buckets,),
    `coarse` (buckets >> coarse_shift, columns). All sums are modulo 2**64; two lanes make 128 bits.
    """

    plan: Plan
    rows: int
    total: Words
    columns: Words
    counts: Counts
    sums: Words
    coarse: Words
    sketch: Sketch | None

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        width, coarse = len(plan.columns), plan.buckets >> plan.coarse_shift
        return cls(
            plan, 0, np.zeros(LANES, np.uint64), np.zeros((width, LANES), np.uint64),
            np.zeros(plan.buckets, np.int64), np.zeros(plan.buckets, np.uint64), np.zeros((coarse, width), np.uint64),
            Sketch.empty(plan) if plan.sketch else None,
        )  # fmt: skip

    def merge(self, other: Self) -> Self:
        """The fingerprint of both sets of rows together."""
        if self.plan != other.plan:
            raise ValueError("two fingerprints of different plans cannot be added")
        sketch = None if self.sketch is None or other.sketch is None else self.sketch.add(other.sketch)
        return type(self)(
            self.plan, self.rows + other.rows, self.total + other.total, self.columns + other.columns,
            self.counts + other.counts, self.sums + other.sums, self.coarse + other.coarse, sketch,
        )  # fmt: skip

    def same_as(self, other: Self) -> bool:
        return (
            self.plan == other.plan
            and self.rows == other.rows
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("total", "columns", *_GRIDS))
            and (
                self.sketch.same_as(other.sketch)
                if self.sketch is not None and other.sketch is not None
                else self.sketch is other.sketch
            )
        )

    @property
    def digest(self) -> str:
        """The rows' sum, both lanes, 32 hex digits."""
        return _hex(self.total)

    def to_json(self) -> dict[str, Any]:
        """The sums without the grids, which `to_tables` gives."""
        names = (column.name for column in self.plan.columns)
        sums = {name: _hex(lanes) for name, lanes in zip(names, self.columns, strict=True)}
        return {**self.plan.to_json(), "rows": self.rows, "total": self.digest, "column_sums": sums}

    def to_tables(self) -> dict[str, pa.Table]:
        """For Parquet: "fine" has a row per bucket, "coarse" one column c0, c1, ... per column, then the "sketch"."""
        fine = pa.table({"count": pa.array(self.counts), "sum": pa.array(self.sums)})
        columns = {f"c{n}": pa.array(np.ascontiguousarray(self.coarse[:, n])) for n in range(self.coarse.shape[1])}
        columns["bucket"] = pa.array(np.arange(len(self.coarse), dtype=np.uint32))
        sketch = {} if self.sketch is None else {"sketch": self.sketch.to_table()}
        return {"fine": fine, "coarse": pa.table(columns), **sketch}

    @classmethod
    def from_stored(cls, document: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> Self:
        """What `to_json` and `to_tables` gave.

        Raises:
            ValueError: they do not fit together.
        """
        try:
            plan = Plan.from_json(document)
            rows, named = document["rows"], document["column_sums"]
            if set(named) != {column.name for column in plan.columns}:
                raise ValueError("the fingerprint's column sums are not those of its plan")
            sums = [_unhex(named[column.name]) for column in plan.columns]
            fine, coarse = tables["fine"], tables["coarse"]
            grid = [_stored(coarse, f"c{n}", pa.uint64()) for n in range(len(plan.columns))]
            found = cls(
                plan, rows, _unhex(document["total"]), np.array(sums, np.uint64).reshape(len(sums), LANES),
                _stored(fine, "count", pa.int64()), _stored(fine, "sum", pa.uint64()),
                np.stack(grid, axis=1) if grid else np.zeros((coarse.num_rows, 0), np.uint64),
                Sketch.from_table(plan, tables["sketch"]) if plan.sketch else None,
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a stored fingerprint: {type(error).__name__} {error}") from error
        found._check()
        return found

    def _check(self) -> None:
        """Whether sums that must agree do."""
        expected = self.empty(self.plan)
        for name in _GRIDS:
            if getattr(self, name).shape != getattr(expected, name).shape:
                raise ValueError(f"the fingerprint's {name} do not fit its plan")
        if isinstance(self.rows, bool) or not isinstance(self.rows, int) or (self.counts < 0).any():
            raise ValueError("the fingerprint's rows are not a count")
        if sum(self.counts.tolist()) != self.rows:
            raise ValueError("the fingerprint's buckets do not add up to its rows")
        lane = [int(one) for one in (self.sums.sum(dtype=np.uint64), self.total[0])]
        if lane[0] != lane[1] or not np.array_equal(self.coarse.sum(axis=0, dtype=np.uint64), self.columns[:, 0]):
            raise ValueError("the fingerprint's buckets do not add up to its sums")
        if self.sketch is not None:
            per_table = self.sketch.words.reshape(3, -1, self.sketch.words.shape[1]).sum(axis=1, dtype=np.uint64)
            head = np.concatenate([np.array([self.rows, lane[1]], np.uint64), self.columns[:, 0]])
            if (per_table[:, : len(head)] != head).any():
                raise ValueError("the fingerprint's sketch does not add up to its sums")


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
        self._seeds = [scatter.Seeds.of(plan.challenge, column) for column in plan.columns]
        self._families = [parse(column.family) for column in plan.columns]
        self._keys = plan.key_places if plan.sketch else ()
        self._cells = np.empty((len(plan.columns), _BLOCK_ROWS), np.uint64)
        self._rows = 0
        self._total = np.zeros(LANES, np.uint64)
        self._columns = np.zeros((len(plan.columns), LANES), np.uint64)

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
        hashes = np.empty(rows, np.uint64)
        for start in range(0, rows, _BLOCK_ROWS):
            count = min(_BLOCK_ROWS, rows - start)
            block = [_cut(cells, start, count) for cells in columns]
            hashes[start : start + count] = self._add(state, block, count)
        self._rows += rows
        return hashes

    def result(self) -> TableFingerprint:
        """The fingerprint of all batches so far."""
        empty: TableFingerprint = TableFingerprint.empty(self.plan)
        sketch = empty.sketch.words if empty.sketch else np.zeros((0, 0), np.uint64)
        for state in self._states.values():
            counts, sums, coarse, cells = state.grids()
            empty.counts[:] += counts
            empty.sums[:] += sums
            empty.coarse[:] += coarse
            if empty.sketch:
                sketch += cells
        return replace(empty, rows=self._rows, total=self._total.copy(), columns=self._columns.copy())

    def _add(self, state: accelerator.Sums, block: Sequence[Cells], rows: int) -> Words:
        """Hash a block of rows and add it up. Its cells lie in one piece of memory that all blocks share."""
        cells = self._cells[:, :rows]
        sums = np.zeros((LANES, rows), np.uint64)
        keys = np.empty((2 * len(self._keys), rows), np.uint64)
        for n, one in enumerate(block):
            encoded = encoded_cells(one, self._families[n], self.plan.challenge)
            self._columns[n] += state.hash_column(encoded, self._seeds[n], cells[n], sums)
            if n in self._keys:
                place = 2 * self._keys.index(n)
                keys[place], keys[place + 1] = encoded.shown()
        state.mix_rows(sums)
        self._total += sums.sum(axis=1, dtype=np.uint64)
        hashes: Words = sums[0]
        state.add(scatter.buckets(self.plan, cells, hashes), hashes, cells, keys)
        return hashes

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


def encoded_cells(cells: Cells, family: Family, challenge: str) -> Encoded:
    """The words of a column's cells, exceptions put in their places."""
    encoded = encode(cells.values, family, challenge)
    if not cells.exceptions:
        return encoded
    encoded = encoded.expanded()
    odd = {row: ("exception", *text_words(text, challenge)) for row, text in cells.exceptions.items()}
    null = None if encoded.null is None else encoded.null.copy()
    if null is not None:
        null[list(odd)] = False
    return Encoded(encoded.low, encoded.high, null, {**encoded.odd, **odd})


def cell_hashes(challenge: str, column: Column, cells: Cells) -> Words:
    """One hash per cell and lane, shape (2, rows)."""
    encoded = encoded_cells(cells, parse(column.family), challenge)
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


def _cut(cells: Cells, start: int, count: int) -> Cells:
    if start == 0 and count == len(cells.values):
        return cells
    odd = {row - start: text for row, text in cells.exceptions.items() if start <= row < start + count}
    return Cells(cells.values.slice(start, count), odd)


def _stored(table: pa.Table, name: str, kind: pa.DataType) -> Any:
    column = table[name]
    if column.type != kind or column.null_count:
        raise ValueError(f"the stored column {name} is not of {kind} without NULL")
    return column.to_numpy()


def _hex(lanes: Words) -> str:
    return "".join(f"{int(lane):016x}" for lane in lanes)


def _unhex(text: Any) -> Words:
    if not isinstance(text, str) or len(text) != 16 * LANES or text.strip("0123456789abcdef"):
        raise ValueError(f"not {16 * LANES} hex digits: {str(text)[:80]!r}")
    return np.array([int(text[start:end], 16) for start, end in pairwise(range(0, 16 * LANES + 1, 16))], np.uint64)
