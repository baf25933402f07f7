"""Did what the customer planted at the source before the run arrive as he planted it?

He writes a row or an object into the vendor's system himself, for this tool only reads there, and tells the plan
what it is. Export and witness both ask the source; a canary's value comes from neither, so a fault that they share, or
a source that answers both alike and wrong, shows here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reversible.assets import Asset, Kind
from reversible.bundle import bag
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding

METRICS = ("data.canary_survived_pct",)

_CHALLENGE = "canaries"
_WRITTEN = frozenset({"bool", "int", "float", "text", "binary", "date", "time", "timestamp", "timestamptz"})


@dataclass(frozen=True, kw_only=True)
class Canary:
    """A row of a table or an object of a bucket.

    Attributes:
        source: The plan's name of the system.
        asset: The table or bucket, as the inventory names it.
        row: A row's columns with their values as the source writes them; None is NULL. Others are not looked at.
        key: An object's key.
        sha256: The digest of the object's bytes, hex.
    """

    source: str
    asset: str
    row: Mapping[str, str | int | bool | None] | None = None
    key: str = ""
    sha256: str = ""


def survived(bundle: Bundle, canaries: Sequence[Canary]) -> Finding:
    """The share that arrived: each exactly once, exactly as it was planted. Without canaries, or where a file cannot
    be read, it is no share at all: the check stays unanswered.
    """
    (metric,) = METRICS
    if not canaries:
        return Finding(metric, None, None, unit="percent", error="the plan names nothing that was planted")
    try:
        lost = list(_lost(bundle, canaries))
    except BundleError as error:
        return Finding(metric, None, None, unit="percent", error=error.message)
    there = len(canaries) - len(lost)
    return Finding(
        metric, None, 100.0 * there / len(canaries), unit="percent", places=tuple(lost),
        seen="{there} of {n} planted rows and objects arrived as they were planted",
        facts={"there": there, "n": len(canaries)},
    )  # fmt: skip


def _lost(bundle: Bundle, canaries: Sequence[Canary]) -> Iterator[str]:
    """One sentence for each canary that did not arrive. Their values are in none: they may be secrets."""
    of_place: dict[tuple[str, str, Kind], list[Canary]] = {}
    for one in canaries:
        kind = Kind.OBJECTS if one.row is None else Kind.TABLE
        of_place.setdefault((one.source, one.asset, kind), []).append(one)
    for (source, name, kind), group in of_place.items():
        asset = next((one for one in bundle.assets if (one.source, one.name, one.kind) == (source, name, kind)), None)
        if asset is None:
            yield from (f"{source}:{kind}:{name}: not in the bundle" for _ in group)
        elif kind is Kind.TABLE:
            yield from _lost_rows(bundle, asset, group)
        else:
            yield from _lost_objects(bundle, asset, group)


def _lost_rows(bundle: Bundle, asset: Asset, canaries: Sequence[Canary]) -> Iterator[str]:
    from reversible import fingerprint
    from reversible.comparison import tables

    table = tables.of_asset(asset, bundle)
    known = {column.name: column for column in table.columns}
    narrow = {
        one["name"] for one in bundle.document(asset, "table.json")["columns"] if one.get("arrow_type") == "float"
    }
    searched = [_Search(one.row or {}) for one in canaries]
    for one in searched:
        for name in one.row:
            if name in known:
                cells = _cell(asset, known[name], one.row[name], narrow=name in narrow)
                one.wanted[name] = fingerprint.cell_hashes(_CHALLENGE, known[name], cells)
    columns = tuple(column for column in table.columns if any(column.name in one.wanted for one in searched))
    for batch, rows in table.only(columns).batches():
        hashed = {one.name: fingerprint.cell_hashes(_CHALLENGE, one, batch[one.name]) for one in columns}
        for one in searched:
            one.look(hashed, rows)
    for number, one in enumerate(searched, 1):
        if one.times != 1:
            yield f"{asset.id}: {number}. planted row: {one.said()}"


class _Search:
    """One planted row, looked for batch by batch."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.wanted: dict[str, Any] = {}  # by column, the two hashes of its cell
        self.times = 0
        self._nearest: tuple[int, tuple[str, ...]] = (0, tuple(row))

    def look(self, hashed: Mapping[str, Any], rows: int) -> None:
        same = {name: (hashed[name] == wanted).all(axis=0) for name, wanted in self.wanted.items()}
        if not rows or not same:
            return
        agree = np.sum(list(same.values()), axis=0)
        self.times += int((agree == len(self.row)).sum())
        best = int(agree.argmax())
        if agree[best] > self._nearest[0]:
            apart = tuple(name for name in self.row if name not in same or not same[name][best])
            self._nearest = (int(agree[best]), apart)

    def said(self) -> str:
        if self.times:
            return f"{self.times} rows are it"
        agree, apart = self._nearest
        return f"no row is it; the nearest differs in {', '.join(apart)}" if agree else "no row is it"


def _cell(asset: Asset, column: Any, value: Any, *, narrow: bool) -> Any:
    """The cell that a planted value makes; text that the column's type cannot hold is what the source writes there.

    Raises:
        BundleError: nobody can write a value of this column down.
    """
    import pyarrow as pa

    from reversible.fingerprint import Cells, arrow_type
    from reversible.fingerprint.strong_record import cell_of

    kind = column.family.partition(":")[0]
    if kind not in _WRITTEN | {"decimal"}:
        raise BundleError(f"{asset.id}.{column.name}: a planted {column.family} cannot be written down in a plan")
    if kind == "bool" and value in ("t", "f", "true", "false"):
        value = value in ("t", "true")
    if value is None:
        return Cells(pa.nulls(1, arrow_type(column.family)))
    if kind == "text":
        value = str(value)
    try:
        cells = cell_of(column, value)
    except ValueError:
        return Cells(pa.nulls(1, arrow_type(column.family)), {0: str(value)})
    if narrow:  # a float of 32 bits is the nearest to what was written, and no double
        return Cells(cells.values.cast(pa.float32()))
    return cells


def _lost_objects(bundle: Bundle, asset: Asset, canaries: Sequence[Canary]) -> Iterator[str]:
    import pyarrow.parquet as pq

    from reversible.comparison.tables import reading

    path_of_index = bundle.folder(asset) / "index.parquet"
    with reading(path_of_index):
        index = pq.read_table(path_of_index, columns=["key", "is_latest", "delete_marker", "sha256"]).to_pydict()
    current = {
        key: sha256
        for key, latest, gone, sha256 in zip(*index.values(), strict=True)
        if latest and not gone and sha256 is not None
    }
    for number, one in enumerate(canaries, 1):
        path = bundle.object_path(asset, current[one.key]) if one.key in current else None
        if path is None:
            yield f"{asset.id}: {number}. planted object: no object has its key"
        elif not path.is_file() or bag.sha256_file(path) != one.sha256:
            yield f"{asset.id}: {number}. planted object: its bytes are others"
