"""How much does float32 arithmetic itself blur an answer?

The noise floor of one input is the largest error, against a float64 reference, that evaluations show which nobody
would call wrong: other batch sizes, other kernels, other thread counts, roundings drawn at random (Monte-Carlo
arithmetic), and the last bit of the answer.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
UNIT = 2.0**-24  # the unit roundoff of float32: half the distance from 1 to the next number
RUNS = 4  # of Monte-Carlo arithmetic
APART = 11.0  # times: the most by which legitimate evaluations were seen to differ (research/models.md, section 3.1)
_TINY = float(np.finfo(np.float32).tiny)  # below it runtimes flush to zero, and no digit means anything
_LARGEST = float(np.finfo(np.float32).max)
_POOL = (1 << 20) - 3  # draws; a prime, so that rows of a large matrix do not meet the same ones


def rms_error(observed: NDArray[Any], reference: NDArray[Any], mask: Mask | None = None) -> Doubles:
    """The root mean square error of each row.

    Args:
        observed: Answers, shape (rows, ...), any float type and unit.
        reference: What they should be, same shape and unit, float64.
        mask: True where a position counts; None: everywhere. Same shape.

    Returns:
        Shape (rows,), in the answers' unit. Where the reference, as float32, is infinite or NaN, the answer must be
        the same: 0, else infinity. Infinity where only the answer is not finite, and everywhere when the shapes
        differ. NaN for a row in which no position counts. Computed in float64: its own rounding is below 1e-15.
    """
    if observed.shape != reference.shape or (observed.ndim > 1 and 0 in observed.shape[1:]):
        return np.full(len(reference), np.inf)
    if not len(reference):
        return np.zeros(0)
    left, right, counts = _flat(observed), _flat(reference), None if mask is None else _flat_mask(mask)
    with np.errstate(invalid="ignore", over="ignore"):
        off = left - right
        whole = np.isfinite(left) & (np.abs(right) <= _LARGEST)
        if not whole.all():
            off = np.where(whole, off, _of_class(left, right))
        if counts is None:
            return np.asarray(np.sqrt(np.mean(off * off, axis=1)), dtype=np.float64)
        n = counts.sum(axis=1)
        total = np.sum(np.where(counts, off * off, 0.0), axis=1)
        return np.asarray(np.where(n > 0, np.sqrt(total / np.maximum(n, 1)), np.nan), dtype=np.float64)


def ulp(reference: NDArray[Any], mask: Mask | None = None) -> Doubles:
    """The distance between neighbouring float32 numbers at the answers: root mean square per row, shape (rows,)."""
    right = _flat(reference)
    size = np.clip(np.nan_to_num(np.abs(right), nan=0.0, posinf=_LARGEST), _TINY, _LARGEST)
    width = np.spacing(size.astype(np.float32)).astype(np.float64)
    width[~np.isfinite(width)] = 2.0**104  # at the largest float32 the next one up does not exist
    if mask is None:
        return np.asarray(np.sqrt(np.mean(width * width, axis=1)), dtype=np.float64)
    counts = _flat_mask(mask)
    total = np.sum(np.where(counts, width * width, 0.0), axis=1)
    return np.asarray(np.sqrt(total / np.maximum(counts.sum(axis=1), 1)), dtype=np.float64)


def noise_floor(
    reference: NDArray[Any],
    evaluations: Iterable[NDArray[Any]],
    perturbed: Iterable[NDArray[Any]] = (),
    *,
    mask: Mask | None = None,
    room: float = np.inf,
) -> Doubles:
    """The floor of each input.

    Args:
        reference: Answers in float64, shape (rows, ...).
        evaluations: Answers of legitimate float32 evaluations, same shape.
        perturbed: Answers of Monte-Carlo arithmetic, same shape.
        mask: As in `rms_error`.
        room: How many times the error of the drawn roundings an evaluation may widen the floor to. Infinity for
            evaluations that are trusted, the original's; `APART` for the port's own, which are on trial: a port whose
            answers depend on the batch must not excuse itself.

    Returns:
        The largest of their errors and of the last bit, shape (rows,), in the answers' unit; above 0. Not finite
        where a legitimate evaluation is not: nothing can be said of that input.

    Source:
        research/models.md, section 3.1; Monte-Carlo arithmetic: D. S. Parker, UCLA CSD-970002 (1997).
    """
    drawn = ulp(reference, mask)
    for answers in perturbed:  # one at a time: memory is bounded by one batch
        drawn = np.maximum(drawn, rms_error(answers, reference, mask))
    floor = drawn
    for answers in evaluations:
        error = rms_error(answers, reference, mask)
        floor = np.maximum(floor, np.where(np.isfinite(error), np.minimum(error, room * drawn), error))
    return np.asarray(floor, dtype=np.float64)


class Roundings:
    """Every float that passes is multiplied by 1 + 2^-24 u, u uniform in [-1, 1]: one run of Monte-Carlo arithmetic.

    Args:
        seed: Of the draws: the same seed and the same sequence of arrays give the same numbers.
    """

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._pool = 1.0 + UNIT * self._draw.uniform(-1.0, 1.0, _POOL)

    def __call__(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """The array with its roundings, float64."""
        if array.dtype.kind != "f" or not array.size:
            return array
        if array.size == 1 and float(array.flat[0]).is_integer():
            return array  # the exponent of a square, a divisor of 16: structure that no arithmetic rounds
        start = int(self._draw.integers(_POOL // 2))
        few = array.size <= _POOL - start
        factors = self._pool[start : start + array.size] if few else np.resize(self._pool[start:], array.size)
        return np.asarray(array * factors.reshape(array.shape))


def _flat(array: NDArray[Any]) -> Doubles:
    return np.asarray(array, dtype=np.float64).reshape(len(array), -1)


def _flat_mask(mask: Mask) -> Mask:
    return np.asarray(mask, dtype=np.bool_).reshape(len(mask), -1)


def _of_class(left: Doubles, right: Doubles) -> Doubles:
    """0 where both are the same infinity or both NaN once they are float32, infinity elsewhere."""
    with np.errstate(over="ignore"):
        here, there = left.astype(np.float32), right.astype(np.float32)
    same = (here == there) | (np.isnan(here) & np.isnan(there))
    return np.where(same, 0.0, np.inf)
