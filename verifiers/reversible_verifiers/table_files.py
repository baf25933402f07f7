"""What do the Parquet files of a table hold, cell by cell, exceptions put back?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from reversible import fingerprint
from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.comparison import one_sided, tables
from reversible.comparison.one_sided import Located
from reversible.comparison.tables import BATCH_ROWS, Table, exceptions, plain, reading, shown
from reversible.errors import BundleError
from reversible.fingerprint import Accumulator, Cells, Differences, Plan, TableFingerprint
from reversible_verifiers.tallies import Tally

__all__ = ["BATCH_ROWS", "batches", "compared", "exceptions", "located", "parts", "reading", "suspects"]

Files = tuple[tuple[str, int, int], ...]  # path, modification time in ns, bytes


def parts(asset: Asset, bundle: Bundle) -> list[Path]:
    """The table's files with rows, in order.

    Raises:
        BundleError: there is none; an empty table has one, without rows.
    """
    found = bundle.parts(asset, "part-?????.parquet")
    if not found:
        raise BundleError(f"{asset.id}: the bundle holds no part-00000.parquet")
    expected = [f"part-{n:05d}.parquet" for n in range(len(found))]
    if [part.name for part in found] != expected:
        raise BundleError(f"{asset.id}: a part is missing between {found[0].name} and {found[-1].name}")
    return found


def batches(part: Path, plan: Plan) -> Iterator[tuple[dict[str, Cells], int]]:
    """The part's cells by column name, a batch at a time, with the number of rows; only the plan's columns.

    Raises:
        BundleError: the file cannot be read.
    """
    return tables.batches(part, plan.columns)


def compared(asset: Asset, bundle: Bundle) -> tuple[TableFingerprint, TableFingerprint, Differences]:
    """The source's fingerprint, the bundle's, and what differs.

    Raises:
        BundleError: the witness or a part cannot be read.
    """
    witness = bundle.witness(asset)
    try:
        source = TableFingerprint.from_stored(witness.facts["fingerprint"], witness.tables)
    except (KeyError, ValueError) as error:
        raise BundleError(f"{asset.id}: the witness holds no fingerprint: {error}") from error
    parts(asset, bundle)
    copy = _read(_files(asset, bundle), source.plan).fingerprint
    return source, copy, fingerprint.compare(source, copy)


def located(asset: Asset, bundle: Bundle) -> Located:
    """Where the bundle's rows differ from the source's, as far as the witness can tell.

    Raises:
        BundleError: the witness or a part cannot be read.
    """
    plan = compared(asset, bundle)[0].plan
    return _located(bundle.root, asset, _files(asset, bundle), plan.challenge)


def figures(asset: Asset, bundle: Bundle, plan: Plan) -> Mapping[str, Mapping[str, str | None]]:
    """Per column what the source's engine may have said of it: see `tallies`.

    Raises:
        BundleError: a part cannot be read, or holds values that cannot be summed.
    """
    return _read(_files(asset, bundle), plan).totals.figures(asset)


class Totals:
    """What the source's engine may have said of the columns, added up batch by batch: see `tallies`."""

    def __init__(self, plan: Plan) -> None:
        self._tallies = {column.name: Tally(column.family) for column in plan.columns}
        self._trouble: pa.ArrowException | None = None

    def add(self, cells: Mapping[str, Cells]) -> None:
        try:
            for name, tally in self._tallies.items() if self._trouble is None else ():
                tally.add(cells[name])
        except pa.ArrowException as error:  # no verdict yet: the rows may differ, and their hashes say where
            self._trouble = error

    def figures(self, asset: Asset) -> Mapping[str, Mapping[str, str | None]]:
        """Per column.

        Raises:
            BundleError: there are values that cannot be summed.
        """
        if self._trouble is not None:
            raise BundleError(f"{asset.id}: its values cannot be summed: {self._trouble}") from self._trouble
        return {name: tally.figures() for name, tally in self._tallies.items()}


@dataclass(frozen=True)
class _Read:
    """What one pass over a table's files gave."""

    fingerprint: TableFingerprint
    totals: Totals


@lru_cache(maxsize=4)  # two verifiers ask in a row; the times and sizes in the key notice a changed file
def _read(files: Files, plan: Plan) -> _Read:
    found, totals = Accumulator(plan), Totals(plan)
    for part in (Path(name) for name, _, _ in files):
        if part.name.endswith(tables.SIDECAR):
            continue
        for cells, rows in batches(part, plan):
            found.add(cells, rows)
            totals.add(cells)
    return _Read(found.result(), totals)


@lru_cache(maxsize=4)
def _located(root: Path, asset: Asset, files: Files, challenge: str) -> Located:
    bundle = Bundle.open(root)
    source, copy, found = compared(asset, bundle)
    table = Table(asset.name, tuple(parts(asset, bundle)), source.plan.columns, {}, copy.rows, source.plan.key)
    return one_sided.locate(source, copy, found, table)


def _files(asset: Asset, bundle: Bundle) -> Files:
    return stamped(bundle.parts(asset))


def stamped(paths: Iterable[Path]) -> Files:
    """These files, as a key of what was read of them."""
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)


def suspects(asset: Asset, bundle: Bundle, plan: Plan, buckets: tuple[int, ...], *, most: int) -> dict[int, list[str]]:
    """The bundle's rows in these buckets, named by key, or by file and row where there is no key: at most `most`."""
    wanted = np.zeros(plan.buckets, np.bool_)
    wanted[list(buckets)] = True
    found: dict[int, list[str]] = {}
    count = 0
    for part in parts(asset, bundle):
        start = 0
        for cells, rows in batches(part, plan):
            at = fingerprint.bucket_of_rows(plan, cells).astype(np.int64)
            for row in np.flatnonzero(wanted[at]):
                if count == most:
                    return found
                name = _key(cells, plan, int(row)) or f"{part.name} row={start + int(row)}"
                found.setdefault(int(at[row]), []).append(name)
                count += 1
            start += rows
    return found


def _key(cells: Mapping[str, Cells], plan: Plan, row: int) -> str:
    families = {column.name: column.family for column in plan.columns}
    return ", ".join(
        f"{name}={shown(plain(cells[name], families[name], [row])[0], families[name], most=40)}" for name in plan.key
    )
