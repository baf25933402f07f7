"""Is every value what it was at the source?"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.comparison.one_sided import Located
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible.fingerprint import Differences, Plan, TableFingerprint, strong
from reversible_verifiers import samples, table_files
from reversible_verifiers.samples import Compared
from reversible_verifiers.tallies import plain

_PLACES = 20
_SUSPECTS = 400
_ROWS_PER_PLACE = 4

Figures = Mapping[str, Mapping[str, str | None]]


class Values:
    """Compares the Parquet files with the witness's fingerprint, then with the totals of the source's own engine.

    Where the witness's sketch can be read whole, every differing cell is named, and the source's value with it when a
    kind of damage explains the copy's. Else the figure is a lower bound: sums tell that cells differ, not how many
    share a bucket and a column. Rows that are missing or extra are not counted here but by `rows`.

    Of a table that was sampled, the sample's rows and the engine's totals are all there is to compare with: the figure
    is a lower bound, its coverage the sample's share, and the rate is bounded with 95 % confidence.
    """

    metrics = frozenset({"data.cells_different", "data.mismatch_rate_ub95"})
    kinds = frozenset({Kind.TABLE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """Two findings per table: cells that differ, and how large the share of rows that differ is at most."""
        drawn = samples.of(asset, bundle)
        if drawn is not None:
            yield from _of_sample(asset, bundle, drawn)
            return
        source, copy, found = table_files.compared(asset, bundle)
        differ, columns, exact, places = found.cells, 0, False, list[str]()
        located = Located()
        if found.none:  # equal fingerprints: the engine's totals must agree, or one of the two is wrong
            figures = table_files.figures(asset, bundle, source.plan)
            places = [*_totals_apart(asset, bundle, source.plan, figures), *_roots_apart(asset, bundle, source.plan)]
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
        files = tuple(bundle.relative(part) for part in table_files.parts(asset, bundle))
        yield Finding(
            "data.cells_different", asset.id, differ, unit="count", seen=seen, files=files,
            facts={"cells": copy.rows * len(source.plan.columns), "n": differ, "columns": columns},
            places=tuple(places[:_PLACES + 1]),
        )  # fmt: skip
        rows = _most_rows(source, copy, found, located) if not found.none else copy.rows if places else 0
        yield Finding(
            "data.mismatch_rate_ub95", asset.id, min(1.0, rows / max(1, source.rows)), unit="ratio", files=files,
            facts={"n": rows, "rows": source.rows}, seen="every row was compared: at most {n} of {rows} differ",
        )  # fmt: skip


def _most_rows(source: TableFingerprint, copy: TableFingerprint, found: Differences, located: Located) -> int:
    """No more rows than these differ, missing and extra ones included: those in the buckets whose sums do."""
    apart = (source.counts != copy.counts) | (source.sums != copy.sums)
    most = max(int(source.counts[apart].sum()), int(copy.counts[apart].sum()))
    if not apart.any():  # a sum over the table or a column differs where no bucket does: nothing is known
        most = max(source.rows, copy.rows)
    known, exact = _counted(found, located)
    return min(most, max(located.rows) + known) if exact else most


def _of_sample(asset: Asset, bundle: Bundle, drawn: Compared) -> Iterator[Finding]:
    places = [str(place) for cells in drawn.located.cells.values() for place in cells]
    differ = max(sum(drawn.located.counted.values()), drawn.changed)
    if not drawn.misses and not drawn.missing and not drawn.extra:
        places = list(_totals_apart(asset, bundle, drawn.sample.plan, drawn.totals.figures(asset)))
        differ = len(places)
    files = tuple(bundle.relative(part) for part in table_files.parts(asset, bundle))
    for metric, value, unit in (
        ("data.cells_different", differ, "count"), ("data.mismatch_rate_ub95", drawn.bound, "ratio"),
    ):  # fmt: skip
        yield Finding(
            metric, asset.id, value, unit=unit, files=files, facts=drawn.facts, coverage=drawn.sample.share,
            places=tuple(places[:_PLACES]),
            seen="{size} rows of {population} compared, drawn with a declared seed; {misses} differ",
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


def _totals_apart(asset: Asset, bundle: Bundle, plan: Plan, figures: Figures) -> Iterator[str]:
    """Columns whose totals at the source are not those of the files."""
    expected: Mapping[str, Mapping[str, Any]] = bundle.witness(asset).facts.get("totals", {})
    if set(expected) != {column.name for column in plan.columns}:
        raise BundleError(f"{asset.id}: the witness holds no totals for some columns")
    for name, of_column in figures.items():
        for figure, value in of_column.items():
            if plain(expected[name][figure]) != value:
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
