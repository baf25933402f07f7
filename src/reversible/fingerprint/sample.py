"""Which rows did the source's own engine draw, and does a copy hold them? See docs/fingerprint.md, section 8.

A sample never proves a table: it bounds the share of rows that differ. The bound needs rows that are all distinct, for
of a row that stands twice at the source and once in the copy either one may be drawn; so the table must have a key.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reversible.fingerprint import scatter
from reversible.fingerprint.accumulator import Accumulator
from reversible.fingerprint.families import parse
from reversible.fingerprint.mixing import LANES, Words
from reversible.fingerprint.plan import Cells, Plan
from reversible.fingerprint.sketch import Image
from reversible.fingerprint.words import Odd, encode

_MOST_SIGMAS = 8  # a draw farther from its mean than this has a chance below 1e-14: it was not drawn so


def images(plan: Plan, batch: Mapping[str, Cells], rows: int) -> Words:
    """What a sample keeps of each row, shape (rows, 2 + columns + 2 * key columns).

    The row's hash in both lanes, the cells' hashes in lane 0, and of each key column both canonical words.
    """
    width = len(plan.columns)
    found = np.empty((LANES + width + 2 * len(plan.key), rows), np.uint64)
    sums = np.zeros((LANES, rows), np.uint64)
    for n, column in enumerate(plan.columns):
        cells = batch[column.name]
        encoded = encode(cells.values, parse(column.family), plan.challenge)
        if cells.exceptions:
            encoded = encoded.with_odd(Odd.of_texts(cells.exceptions, plan.challenge))
        scatter.hash_column(encoded, scatter.Seeds.of(plan.challenge, column), found[LANES + n], sums)
        if n in plan.key_places:
            place = LANES + width + 2 * plan.key_places.index(n)
            found[place], found[place + 1] = encoded.shown()
    scatter.mix_rows(sums)
    found[:LANES] = sums
    return np.ascontiguousarray(found.T)


def chosen(batch: Mapping[str, Cells], at: npt.NDArray[np.int64]) -> dict[str, Cells]:
    """These rows of a batch."""
    place = pa.array(at)
    found = {}
    for name, cells in batch.items():
        odd = {n: cells.exceptions[row] for n, row in enumerate(at.tolist()) if row in cells.exceptions}
        found[name] = Cells(pc.take(cells.values, place), odd)
    return found


def among(values: Words, wanted: Words) -> npt.NDArray[np.int64]:
    """The positions of the values that are among `wanted`, which is sorted."""
    if not len(wanted):
        return np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    return np.flatnonzero(wanted[place] == values)


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of a table with a key, each drawn with the same chance and independently of all others.

    Args:
        plan: What they were hashed under; without buckets and without a sketch.
        population: The table's rows, as its engine counts them.
        rate: The chance of each row to be drawn, within 0 and 1.
        seed: What decided the draw.
        words: Their images, see `images`, sorted by the rows' hashes.

    Raises:
        ValueError: there is no key, or so many rows cannot have been drawn at this rate.
    """

    plan: Plan
    population: int
    rate: float
    seed: str
    words: Words

    def __post_init__(self) -> None:
        if not self.plan.key or self.plan.buckets != 1 or self.plan.sketch:
            raise ValueError("a sample needs a key, and has neither buckets nor a sketch")
        if not 0 < self.rate < 1 or self.population < 1:
            raise ValueError(f"a sample at the rate {self.rate} of {self.population} rows cannot be drawn")
        mean = self.population * self.rate
        slack = _MOST_SIGMAS * (math.sqrt(mean * (1 - self.rate)) + 1)
        if self.size > self.population or abs(self.size - mean) > slack:
            raise ValueError(
                f"{self.size} rows were not drawn at the rate {self.rate} of {self.population}: about {mean:.0f} are"
            )

    @classmethod
    def of(cls, plan: Plan, pieces: Iterable[Words], *, population: int, rate: float, seed: str) -> Self:
        """The sample of these images, in any order."""
        plan = replace(plan, buckets=1, sketch=0)
        width = LANES + len(plan.columns) + 2 * len(plan.key)
        found = np.concatenate([np.zeros((0, width), np.uint64), *pieces])
        return cls(plan, population, rate, seed, found[np.lexsort((found[:, 1], found[:, 0]))])

    @property
    def size(self) -> int:
        """Its rows."""
        return len(self.words)

    @property
    def share(self) -> float:
        """The share of the table that was drawn, below 1: what was not declared to be read whole was not."""
        return min(self.size / self.population, math.nextafter(1.0, 0.0))

    def to_json(self) -> dict[str, Any]:
        """The witness's fact "sample"; the rows lie in its table of that name."""
        drawn = {"rows": self.size, "population": self.population, "rate": self.rate, "seed": self.seed}
        return {**self.plan.to_json(), **drawn}

    def to_table(self) -> pa.Table:
        """For Parquet: a row per row, columns w0, w1, ..."""
        return pa.table({f"w{n}": pa.array(np.ascontiguousarray(self.words[:, n])) for n in range(self._width)})

    @classmethod
    def from_stored(cls, document: Mapping[str, Any], table: pa.Table) -> Self:
        """What `to_json` and `to_table` gave.

        Raises:
            ValueError: they do not fit together, or hold no sample.
        """
        try:
            plan = Plan.from_json(document)
            rows, population = document["rows"], document["population"]
            rate, seed = document["rate"], document["seed"]
            if type(rows) is not int or type(population) is not int or type(rate) is not float:
                raise ValueError("the sample's rows, population and rate are two whole numbers and a fraction")
            if not isinstance(seed, str) or not seed:
                raise ValueError("the sample's seed is a text")
            names = [f"w{n}" for n in range(LANES + len(plan.columns) + 2 * len(plan.key))]
            if table.column_names != names or table.num_rows != rows:
                raise ValueError(f"the sample's table does not hold {rows} rows of its plan")
            if any(column.type != pa.uint64() or column.null_count for column in table.columns):
                raise ValueError("the sample's columns are not of uint64 without NULL")
            words = np.stack([column.to_numpy() for column in table.columns], axis=1)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a stored sample: {type(error).__name__} {error}") from error
        found = cls(plan, population, rate, seed, words)
        found._check()
        return found

    @property
    def _width(self) -> int:
        return LANES + len(self.plan.columns) + 2 * len(self.plan.key)

    def _check(self) -> None:
        """Whether each row's hash is that of its cells."""
        cells = self.words[:, LANES : LANES + len(self.plan.columns)]
        sums = np.stack([cells.sum(axis=1, dtype=np.uint64)] * LANES)
        scatter.mix_rows(sums)
        if not np.array_equal(sums[0], self.words[:, 0]):
            raise ValueError("the sample's rows are not the sums of their cells")


class Matching:
    """Looks for the rows of a sample in a copy, batch by batch, in any order. Equal rows count as often as they are.

    Args:
        sample: What is looked for.
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.rows = 0
        self._sums = Accumulator(sample.plan)
        self._lane = np.unique(sample.words[:, 0])
        self._places: dict[tuple[int, int], list[int]] = {}
        for place, (low, high) in enumerate(sample.words[:, :LANES].tolist()):
            self._places.setdefault((low, high), []).append(place)
        self._there = dict.fromkeys(self._places, 0)

    def add(self, batch: Mapping[str, Cells], rows: int) -> None:
        """Look through a batch, which maps every column of the plan to its cells."""
        self.rows += rows
        at = among(self._sums.add(batch, rows), self._lane)
        if not len(at):
            return
        found = images(self.sample.plan, chosen(batch, at), len(at))[:, :LANES]
        for row, times in zip(*map(np.ndarray.tolist, np.unique(found, axis=0, return_counts=True)), strict=True):
            if tuple(row) in self._there:
                self._there[tuple(row)] += times

    def missing(self) -> list[int]:
        """The places in the sample of the rows that the copy lacks: of one that it has too few times, some."""
        lacking = (places[self._there[row] :] for row, places in self._places.items())
        return sorted(place for places in lacking for place in places)

    def doubled(self) -> dict[int, int]:
        """The places of the rows that the copy has more often than the sample, and how many times more.

        The source has each once, for it has a key: these rows are extra.
        """
        return {
            places[0]: self._there[row] - len(places)
            for row, places in self._places.items()
            if self._there[row] > len(places)
        }


def image_of(plan: Plan, words: Words, side: Literal["left", "right"], times: int = 1) -> Image:
    """One row of `images` as the sketch would give it."""
    row, *rest = words.tolist()
    cells, key = rest[1 : 1 + len(plan.columns)], rest[1 + len(plan.columns) :]
    return Image(side, tuple(zip(key[::2], key[1::2], strict=True)), row, tuple(cells), times)
