"""Where does the copy differ from the source, as far as their sums can tell?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reversible.fingerprint.sums import TableFingerprint


@dataclass(frozen=True)
class Differences:
    """What `compare` found. Row figures come from the buckets' counts, so a drop does not hide behind a duplicate.

    `changed` are buckets that hold as many rows on both sides, but others; `surplus` and `lacking` hold more or
    fewer rows on the right. `columns` maps each of these buckets to the columns whose values differ there (with
    over 4,096 buckets: in one of its 16 neighbours). `columns_overall` are columns whose sums over the table differ.
    """

    missing: int
    extra: int
    cells: int
    changed: tuple[int, ...]
    surplus: tuple[int, ...]
    lacking: tuple[int, ...]
    columns: Mapping[int, tuple[str, ...]]
    columns_overall: tuple[str, ...]

    @property
    def none(self) -> bool:
        return not (self.missing or self.extra or self.cells)


def compare(left: TableFingerprint, right: TableFingerprint) -> Differences:
    """Where `right` (the copy) differs from `left` (the source).

    `cells` is a lower bound of the differing cells. With a key, a changed row stays in its bucket: each coarse
    bucket with equal counts differs in at least as many cells as it has differing fine buckets, or differing columns.
    Without a key a changed row is one row less and another more: these are paired.
    """
    if left.plan != right.plan:
        raise ValueError("fingerprints of different plans cannot be compared")
    plan, shift = left.plan, left.plan.coarse_shift
    gain = right.counts - left.counts
    changed = np.flatnonzero((gain == 0) & (left.sums != right.sums))
    surplus, lacking = np.flatnonzero(gain > 0), np.flatnonzero(gain < 0)
    missing, extra = int(-gain[lacking].sum()), int(gain[surplus].sum())
    differing = left.coarse != right.coarse
    names = [column.name for column in plan.columns]
    columns = {
        int(bucket): tuple(name for name, differs in zip(names, differing[bucket >> shift], strict=True) if differs)
        for bucket in (*changed, *surplus, *lacking)
    }
    overall = (left.columns != right.columns).any(axis=1)
    if plan.key:
        balanced = np.add.reduceat(gain != 0, np.arange(0, plan.buckets, 1 << shift)) == 0
        inside = np.bincount(changed >> shift, minlength=len(balanced))
        width = np.where(balanced, differing.sum(axis=1), 0)
        cells = int(np.maximum(inside, width).sum())
    else:
        pairs = min(missing, extra)
        cells = len(changed) + pairs
        if cells and missing == extra:
            cells = max(cells, int(overall.sum()))
    if not (cells or missing or extra) and not left.same_as(right):
        cells = 1  # the second lane alone saw it
    return Differences(
        missing, extra, cells, tuple(map(int, changed)), tuple(map(int, surplus)), tuple(map(int, lacking)), columns,
        tuple(name for name, differs in zip(names, overall, strict=True) if differs),
    )  # fmt: skip
