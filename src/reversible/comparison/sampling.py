"""How large may the mismatch rate still be, when only a sample of a table was compared?

An exact upper bound, one-sided, never the point estimate. The rows themselves: `reversible.fingerprint.sample`.
"""

import math

import numpy as np

CONFIDENCE = 0.95


def hypergeometric_bound(misses: int, size: int, population: int, *, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper bound of a rate, from `misses` among `size` rows drawn without replacement.

    Args:
        misses: Rows of the sample that are off, 0 <= misses <= size.
        size: Rows of the sample; 0 says nothing.
        population: Rows of the table.
        confidence: One-sided, within 0 and 1.

    Returns:
        D / population, D being the largest number of mismatches in the table with P(X <= misses) > 1 - confidence for
        X hypergeometric(population, D, size). A whole table gives its own rate, an empty sample 1. Never below
        misses / population.

    Raises:
        ValueError: such a sample cannot be drawn.

    Source:
        Clopper and Pearson's inversion (Biometrika 26, 1934) of the hypergeometric law. P(X <= k) is summed from the
        lowest term upwards, each from the one before; its relative error is below 1e-9 up to 10**12 rows.
    """
    if not (0 <= misses <= size <= population and 0 < confidence < 1):
        raise ValueError(f"{misses} misses among {size} of {population} rows at confidence {confidence}: no bound")
    if not size:
        return 1.0
    low, high = misses, population - (size - misses)  # what was seen whole is known
    while low < high:  # the tail falls as the mismatches grow
        middle = (low + high + 1) // 2
        if _tail(misses, size, population, middle) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low / population


def _tail(misses: int, size: int, population: int, bad: int) -> float:
    """P(X <= misses), `bad` not below `misses`."""
    good = population - bad
    least = max(0, size - good)
    if misses < least:
        return 0.0
    k = np.arange(least, misses, dtype=np.float64)
    steps = np.log(bad - k) + np.log(size - k) - np.log(k + 1) - np.log(good - size + k + 1)
    logs = _log_first(size, population, bad, least) + np.concatenate([[0.0], np.cumsum(steps)])
    return math.fsum(np.exp(logs).tolist())


def _log_first(size: int, population: int, bad: int, least: int) -> float:
    """log P(X = least). Factor by factor: log-gammas of 10**10 rows would leave five digits of their difference."""
    if least:  # all the good rows are drawn
        return _log_choose(bad, least) - _log_choose(population, size)
    fewer, more = min(size, bad), max(size, bad)
    return float(np.log1p(-more / (population - np.arange(fewer, dtype=np.float64))).sum())


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
