"""Which code makes and adds up the hashes: numpy, or numba's where it is installed and worth its start?

Both give the same digests.
"""

from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from reversible.fingerprint import loading, scatter
from reversible.fingerprint.mixing import Counts, Words
from reversible.fingerprint.plan import Plan
from reversible.fingerprint.sketch import Layout
from reversible.fingerprint.words import Encoded

Choice = Literal["auto", "numpy", "numba"]
_WORTH = 1 << 22  # cells from which numba's import, about half a second, is earned back


class Sums(Protocol):
    """The grids and the sketch in the making, in whatever layout the code likes."""

    def hash_column(self, encoded: Encoded, seeds: scatter.Seeds, cells: Words, sums: Words) -> Words:
        """See `scatter.hash_column`."""
        ...

    def mix_rows(self, sums: Words) -> None:
        """The rows' hashes from the sums of their cells, in place."""
        ...

    def add(self, at: Words, rows: Words, cells: Words, keys: Words) -> None:
        """Add rows by bucket. Shapes: at, rows (rows,), cells (columns, rows), keys (two per key column, rows)."""
        ...

    def grids(self) -> tuple[Counts, Words, Words, Words]:
        """Counts and sums (buckets,), coarse (coarse buckets, columns), sketch (cells, width)."""
        ...


def choose(plan: Plan, cells: int, choice: Choice) -> Literal["numpy", "numba"]:
    """The code to use for a table of which so many cells were seen."""
    if choice != "auto":
        return choice
    return "numba" if plan.columns and cells >= _WORTH and loading.kernels() is not None else "numpy"


def sums(plan: Plan, engine: Literal["numpy", "numba"]) -> Sums:
    """An empty state of this engine.

    Raises:
        ModuleNotFoundError: numba was asked for and is not there, or has no safe place for its cache.
    """
    if engine == "numpy":
        return scatter.NumpySums(plan)
    loops = loading.kernels()
    if loops is None:
        raise ModuleNotFoundError("numba is not installed (extra `fast`), or has no folder that only we may write")
    return _NumbaSums(plan, loops[0])


class _NumbaSums:
    def __init__(self, plan: Plan, loops: Any) -> None:
        coarse = plan.buckets >> plan.coarse_shift
        self._loops = loops
        self._shift = plan.coarse_shift
        self._counts = np.zeros(plan.buckets, np.int64)
        self._fine = np.zeros(plan.buckets, np.uint64)
        self._coarse = np.zeros((len(plan.columns), coarse), np.uint64)
        self._sketch = np.zeros((Layout.of(plan).width, plan.sketch), np.uint64)

    def hash_column(self, encoded: Encoded, seeds: scatter.Seeds, cells: Words, sums: Words) -> Words:
        if encoded.index is not None:
            tables = [scatter.hashed(encoded, seeds, lane) for lane in range(len(sums))]
            found = self._loops.look_up(*tables, encoded.index, cells, sums[0], sums[1])
            return np.array(found, np.uint64)
        if encoded.odd:
            return scatter.hash_column(encoded, seeds, cells, sums)
        high = _NO_WORDS if encoded.high is None else encoded.high
        null = _NO_FLAGS if encoded.null is None else encoded.null
        found = self._loops.hash_words(encoded.low, high, null, *seeds.value, *seeds.null, cells, sums[0], sums[1])
        return np.array(found, np.uint64)

    def mix_rows(self, sums: Words) -> None:
        self._loops.mix_rows(sums)

    def add(self, at: Words, rows: Words, cells: Words, keys: Words) -> None:
        self._loops.add(
            rows, cells, keys, at.astype(np.int64), self._shift, self._counts, self._fine, self._coarse, self._sketch
        )  # fmt: skip

    def grids(self) -> tuple[Counts, Words, Words, Words]:
        coarse, sketch = (np.ascontiguousarray(one.T) for one in (self._coarse, self._sketch))
        return self._counts, self._fine, coarse, sketch


_NO_WORDS = np.zeros(0, np.uint64)
_NO_FLAGS: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
