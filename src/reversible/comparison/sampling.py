"""How large may the mismatch rate still be, when only a sample of a table was compared?

A sample is declared and seeded before anything is compared, so that nobody can draw until it is clean. What it gives
is an exact upper bound, one-sided, never the point estimate; its coverage is below 1, so no clause is PROVEN by it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reversible.findings import Finding, Scalar
from reversible.fingerprint import mix

CONFIDENCE = 0.95
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Sample:
    """A sample as it was declared.

    Args:
        population: Rows of the table.
        size: Rows of the sample, drawn without replacement.
        seed: Any text, sealed before the draw.
    """

    population: int
    size: int
    seed: str

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.population:
            raise ValueError(f"a sample of {self.size} from {self.population} rows cannot be drawn")

    def positions(self) -> npt.NDArray[np.int64]:
        """The rows, ascending, from 0: those whose number, hashed with the seed, comes first. Memory: 16 bytes each.

        The same for everybody: row n has rank mix(mix(n) ^ s), s the first 8 bytes of SHA-256 of the seed.
        """
        import hashlib

        start = np.uint64(int.from_bytes(hashlib.sha256(self.seed.encode()).digest()[:8], "big"))
        kept = np.zeros(0, np.int64)
        ranks = np.zeros(0, np.uint64)
        for first in range(0, self.population, _CHUNK):
            rows = np.arange(first, min(first + _CHUNK, self.population), dtype=np.int64)
            ranks = np.concatenate([ranks, mix(mix(rows.astype(np.uint64)) ^ start)])
            kept = np.concatenate([kept, rows])
            if len(kept) > self.size:
                best = np.argpartition(ranks, self.size - 1)[: self.size]
                kept, ranks = kept[best], ranks[best]
        return np.sort(kept)

    def upper_bound(self, misses: int, *, confidence: float = CONFIDENCE) -> float:
        """The largest mismatch rate of the table that is still compatible with `misses` in the sample.

        Exact for rows drawn without replacement (hypergeometric): with more mismatches than this rate says, fewer or
        equally many misses than were seen have a probability below 1 - confidence.
        """
        return hypergeometric_bound(misses, self.size, self.population, confidence=confidence)

    def to_json(self) -> dict[str, Any]:
        return {"population": self.population, "size": self.size, "seed": self.seed}

    def findings(self, asset: str, misses: int, cells: int, places: tuple[str, ...] = ()) -> Iterator[Finding]:
        """What to report of it: cells that differ, and the bound on rows; both cover the sample's share only.

        Args:
            asset: The asset's id.
            misses: Rows of the sample that differ.
            cells: Cells of these rows that differ.
            places: Where.
        """
        facts: dict[str, Scalar] = {
            "sampled": True,
            "n": self.size,
            "rows": self.population,
            "seed": self.seed,
            "misses": misses,
        }
        share = self.size / self.population
        yield Finding(
            "data.cells_different", asset, cells, unit="count", facts=facts, coverage=share, places=places,
            seen="{size} rows of {population} compared, drawn with a declared seed; {misses} differ",
        )  # fmt: skip
        yield Finding(
            "data.mismatch_rate_ub95", asset, self.upper_bound(misses), unit="ratio", facts=facts, coverage=share,
            places=places, seen="{size} rows of {population} compared, drawn with a declared seed; {misses} differ",
        )  # fmt: skip


def clopper_pearson_bound(misses: int, size: int, *, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper bound of a rate, from `misses` among `size` independent draws of an endless population.

    Returns:
        The p with P(X <= misses) = 1 - confidence for X binomial(size, p), to 1e-12; 1 when all missed. Without a
        miss it is 1 - (1 - confidence) ** (1 / size), about 3 / size at 95 %.

    Source:
        Clopper, Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934).
    """
    _check(misses, size, confidence)
    if misses == size:
        return 1.0
    if misses == 0:
        return -math.expm1(math.log1p(-confidence) / size)
    low, high = misses / size, 1.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if _binomial_tail(misses, size, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def hypergeometric_bound(misses: int, size: int, population: int, *, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper bound of a rate, from `misses` among `size` rows drawn without replacement.

    Returns:
        D / population, D being the largest number of mismatches in the table with P(X <= misses) > 1 - confidence for
        X hypergeometric(population, D, size). A whole table gives its own rate. Never below misses / population.

    Source:
        The same inversion as Clopper and Pearson's; the probabilities by log-gamma, relative error below 1e-9.
    """
    _check(misses, size, confidence)
    if size > population:
        raise ValueError(f"{size} rows were drawn from {population}")
    low, high = misses, population - (size - misses)  # what was seen whole is known
    while low < high:  # the tail falls as the mismatches grow
        middle = (low + high + 1) // 2
        if _hypergeometric_tail(misses, size, population, middle) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low / population


def size_for(bound: float, population: int, *, confidence: float = CONFIDENCE) -> int:
    """The smallest sample that, clean, gives at most this bound; the whole table when no smaller one does."""
    low, high = 1, population
    while low < high:
        middle = (low + high) // 2
        if hypergeometric_bound(0, middle, population, confidence=confidence) <= bound:
            high = middle
        else:
            low = middle + 1
    return low


def _check(misses: int, size: int, confidence: float) -> None:
    if not (0 <= misses <= size and size > 0 and 0 < confidence < 1):
        raise ValueError(f"{misses} misses among {size} at confidence {confidence}: no bound")


def _binomial_tail(misses: int, size: int, rate: float) -> float:
    """P(X <= misses)."""
    if rate >= 1:
        return 0.0
    yes, no = math.log(rate), math.log1p(-rate)
    return _sum(misses, lambda k: _choose(size, k) + k * yes + (size - k) * no)


def _hypergeometric_tail(misses: int, size: int, population: int, bad: int) -> float:
    """P(X <= misses); a sum over the few terms that can be."""
    every = _choose(population, size)
    good = population - bad

    def log_term(k: int) -> float:
        if size - k > good or k > bad:
            return -math.inf
        return _choose(bad, k) + _choose(good, size - k) - every

    return _sum(misses, log_term)


def _sum(most: int, log_term: Callable[[int], float]) -> float:
    return math.fsum(math.exp(log_term(k)) for k in range(most + 1))


def _choose(n: int, k: int) -> float:
    """log of n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
