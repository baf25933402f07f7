"""What are the sums of a table: over all of it, by column, by bucket?

Sums, never XOR: duplicated rows and uniform shifts do not cancel. Sums add: parts are hashed apart, in any order, on
any number of machines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pyarrow as pa

from reversible.fingerprint.mixing import LANES, Counts, Words
from reversible.fingerprint.plan import Plan
from reversible.fingerprint.sketch import Sketch

_GRIDS = ("counts", "sums", "coarse")


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
