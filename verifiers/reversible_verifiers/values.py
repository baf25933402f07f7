"""Is every value what it was at the source?"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible.fingerprint import Cells, Differences, Plan
from reversible_verifiers import table_files

_PLACES = 20
_SUSPECTS = 400
_ROWS_PER_PLACE = 4


class Values:
    """Compares the Parquet files with the witness's fingerprint, then with the totals of the source's own engine.

    The figure is a lower bound: sums tell that cells differ, not how many share a bucket and a column. Rows that are
    missing or extra are not counted here but by `rows`.
    """

    metrics = frozenset({"data.cells_different"})
    kinds = frozenset({Kind.TABLE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """One finding per table."""
        source, copy, found = table_files.compared(asset, bundle)
        places = list(_places(asset, bundle, source.plan, found))
        differ = found.cells
        if found.none:  # equal fingerprints: the engine's totals must agree, or one of the two is wrong
            wrong = list(_totals_apart(asset, bundle, source.plan))
            differ, places = len(wrong), wrong[:_PLACES]
        seen = "{cells} cells compared, none differs"
        if differ:
            seen = "{cells} cells compared; at least {n} differ, in {columns} columns"
        names = {name for bucket in found.changed for name in found.columns[bucket]}
        yield Finding(
            "data.cells_different", asset.id, differ, unit="count", seen=seen,
            facts={
                "cells": copy.rows * len(source.plan.columns), "n": differ, "columns": max(len(names), bool(differ)),
            },
            places=tuple(places), files=tuple(bundle.relative(part) for part in table_files.parts(asset, bundle)),
        )  # fmt: skip


def _places(asset: Asset, bundle: Bundle, plan: Plan, found: Differences) -> Iterator[str]:
    """ "schema.table.column [key]" for the first differences: one of each column, then more, and how many are left."""
    buckets = found.changed if plan.key else (*found.changed, *found.surplus)
    if not found.cells:
        return
    rows = table_files.suspects(asset, bundle, plan, buckets, most=_SUSPECTS)
    if not any(rows.values()):
        yield from (f"{asset.name}.{name}" for name in found.columns_overall[:_PLACES])
        return
    listed = [
        (name, f"{asset.name}.{name} [{' | '.join(rows[bucket][:_ROWS_PER_PLACE])}]")
        for bucket in sorted(rows)
        for name in found.columns[bucket] or found.columns_overall
    ]
    first = dict(reversed(listed))
    ordered = [*first.values(), *(place for _, place in listed if place not in first.values())]
    yield from ordered[:_PLACES]
    left = found.cells - _PLACES
    if left > 0 and len(ordered) > _PLACES:
        yield f"{asset.name}: {left} more"


# --- the engine's own totals ------------------------------------------------------------------------------------


def _totals_apart(asset: Asset, bundle: Bundle, plan: Plan) -> Iterator[str]:
    """Columns whose totals at the source are not those of the files."""
    expected: Mapping[str, Mapping[str, Any]] = bundle.witness(asset).facts.get("totals", {})
    if set(expected) != {column.name for column in plan.columns}:
        raise BundleError(f"{asset.id}: the witness holds no totals for some columns")
    tallies = {column.name: _Tally(column.family) for column in plan.columns}
    for part in table_files.parts(asset, bundle):
        for cells, _ in table_files.batches(part, plan):
            for name, one in cells.items():
                tallies[name].add(one)
    for name, tally in tallies.items():
        for figure, value in tally.figures().items():
            if _plain(expected[name][figure]) != value:
                yield f"{asset.name}.{name} ({figure} of {expected[name]['of']}: {expected[name][figure]} / {value})"


class _Tally:
    """Count, sum, smallest and largest of what the source's engine summed, in exact arithmetic."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._present = 0
        self._sum: Any = None
        self._low: Any = None
        self._high: Any = None

    def add(self, cells: Cells) -> None:
        values = cells.values
        self._present += len(values) - values.null_count + len(cells.exceptions)
        measured = pc.drop_null(_measured(values, self._family))
        if not len(measured):
            return
        exact = measured.cast(pa.decimal256(76, getattr(measured.type, "scale", 0)))  # int64 would overflow
        ends = pc.min_max(measured).as_py()
        total = pc.sum(exact).as_py()
        self._sum = total if self._sum is None else self._sum + total
        self._low = ends["min"] if self._low is None else min(self._low, ends["min"])
        self._high = ends["max"] if self._high is None else max(self._high, ends["max"])

    def figures(self) -> dict[str, str | None]:
        return {
            "present": _plain(self._present), "sum": _plain(self._sum), "min": _plain(self._low),
            "max": _plain(self._high),
        }  # fmt: skip


def _measured(values: pa.Array, family: str) -> pa.Array:
    """What the engine summed: see `postgres_totals` of the exporter and docs/bundle-format.md."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if family.startswith("decimal:"):
        return values
    if family == "int":
        return values.cast(pa.int64())
    if family == "date":
        return values.cast(pa.date32()).cast(pa.int32())
    if family == "time":
        return values.cast(pa.time64("us")).cast(pa.int64())
    if family in ("timestamp", "timestamptz"):
        return values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64())
    if family == "bool":
        return values.cast(pa.int8())
    if family == "float":
        return pc.is_nan(values).cast(pa.int8())
    return pc.binary_length(values.cast(pa.large_binary()))


def _plain(figure: Any) -> str | None:
    """A figure as text without an exponent or trailing zeros: "12.50" and Decimal("12.5") are one."""
    if figure is None:
        return None
    text = format(figure, "f") if hasattr(figure, "as_tuple") else str(figure)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
