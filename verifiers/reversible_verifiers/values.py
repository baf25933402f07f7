"""Is every value what it was at the source?"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.comparison.one_sided import Located
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible.fingerprint import Cells, Differences, Plan, strong
from reversible_verifiers import table_files

_PLACES = 20
_SUSPECTS = 400
_ROWS_PER_PLACE = 4


class Values:
    """Compares the Parquet files with the witness's fingerprint, then with the totals of the source's own engine.

    Where the witness's sketch can be read whole, every differing cell is named, and the source's value with it when a
    kind of damage explains the copy's. Else the figure is a lower bound: sums tell that cells differ, not how many
    share a bucket and a column. Rows that are missing or extra are not counted here but by `rows`.
    """

    metrics = frozenset({"data.cells_different"})
    kinds = frozenset({Kind.TABLE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """One finding per table."""
        source, copy, found = table_files.compared(asset, bundle)
        differ, columns, exact, places = found.cells, 0, False, []
        if found.none:  # equal fingerprints: the engine's totals must agree, or one of the two is wrong
            places = [*_totals_apart(asset, bundle, source.plan), *_roots_apart(asset, bundle, source.plan)]
            differ = columns = len(places)
        else:
            located = table_files.located(asset, bundle)
            differ, exact = _counted(found, located)
            names = {name for bucket in found.changed for name in found.columns[bucket]}
            columns = len(located.counted) if exact else max(len(names | set(located.cells)), bool(differ))
            places = list(_places(asset, bundle, source.plan, found, located)) if differ else []
        seen = "{cells} cells compared, none differs"
        if differ and exact:
            seen = "{cells} cells compared; {n} differ, in {columns} columns"
        elif differ:
            seen = "{cells} cells compared; at least {n} differ, in {columns} columns"
        yield Finding(
            "data.cells_different", asset.id, differ, unit="count", seen=seen,
            facts={"cells": copy.rows * len(source.plan.columns), "n": differ, "columns": columns},
            places=tuple(places[:_PLACES + 1]),
            files=tuple(bundle.relative(part) for part in table_files.parts(asset, bundle)),
        )  # fmt: skip


def _counted(found: Differences, located: Located) -> tuple[int, bool]:
    """How many cells differ, and whether that is exact.

    What the sketch does not explain stays what the buckets say: fingerprints that differ never count as no difference.
    """
    known = sum(located.counted.values())
    if located.complete and (known or any(located.rows)):
        return known, True
    return max(known, found.cells), False


def _places(asset: Asset, bundle: Bundle, plan: Plan, found: Differences, located: Located) -> Iterator[str]:
    """Whole columns and exact cells first, one of each column before the second of any; then what is only suspected."""
    queues = [list(map(str, places)) for places in located.cells.values()]
    ordered = [queue[n] for n in range(max(map(len, queues), default=0)) for queue in queues if n < len(queue)]
    if not located.complete:
        ordered += list(_suspected(asset, bundle, plan, found, set(located.cells)))
    yield from ordered[:_PLACES]
    left = _counted(found, located)[0] - _PLACES if not located.counted or located.complete else 0
    if left > 0 and len(ordered) > _PLACES:
        yield f"{asset.name}: {left} more"


def _suspected(asset: Asset, bundle: Bundle, plan: Plan, found: Differences, settled: set[str]) -> Iterator[str]:
    """ "schema.table.column [key | key]" for the buckets that differ: one of these rows is it."""
    buckets = found.changed if plan.key else (*found.changed, *found.surplus)
    rows = table_files.suspects(asset, bundle, plan, buckets, most=_SUSPECTS)
    if not any(rows.values()):
        yield from (f"{asset.name}.{name}" for name in found.columns_overall if name not in settled)
        return
    listed = [
        (name, f"{asset.name}.{name} [{' | '.join(rows[bucket][:_ROWS_PER_PLACE])}]")
        for bucket in sorted(rows)
        for name in found.columns[bucket] or found.columns_overall
        if name not in settled
    ]
    first = dict(reversed(listed))
    yield from (*first.values(), *(place for _, place in listed if place not in first.values()))


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


def _roots_apart(asset: Asset, bundle: Bundle, plan: Plan) -> Iterator[str]:
    """That the SHA-256 root of the files is not the witness's, where it has one (docs/fingerprint-strong.md)."""
    witness = bundle.witness(asset)
    batches = (one for part in table_files.parts(asset, bundle) for one in table_files.batches(part, plan))
    try:
        with tempfile.TemporaryDirectory() as folder:
            apart = strong.ranges_apart(plan.columns, witness.facts, witness.tables, batches, folder=Path(folder))
    except ValueError as error:
        raise BundleError(f"{asset.id}: {error}") from error
    if apart:
        yield f"{asset.name} (SHA-256 of the rows: {len(apart)} ranges differ, {apart[0]:04x} first)"


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
