"""How many times what float32 itself leaves open is this answer off?

R = rms(answer - reference) / floor, per input. Numerically equivalent: the median is at most 3 and the largest at
most 10; both are criteria of the catalogue, sealed with the plan and overridable there.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.floor import Doubles, Mask, rms_error

MEDIAN = 3.0  # research/models.md, section 3.1: good exports reached 1.03, the smallest planted defect 24
LARGEST = 10.0  # good exports reached 8.5, the smallest planted defect 158
DIGITS = 6  # significant, of the recording: with 4 the smallest defects are lost (section 3.3)
_WHOLE = 17  # digits of a float64: more say nothing


@dataclass(frozen=True)
class Recording:
    """How finely answers were written down, learnt from the texts of all their numbers.

    Attributes:
        digits: The most significant digits that any number has.
        decimals: The most decimals that any number has, by its exponent: 1.5e-7 has eight.
    """

    digits: int
    decimals: int

    @classmethod
    def of(cls, numbers: Iterable[str]) -> "Recording":
        """From the numbers as they were written, "0.25" or "1e-05"; NaN and infinity say nothing."""
        digits, decimals = 0, 0
        for text in set(numbers):
            mantissa, _, exponent = text.lower().lstrip("+-").partition("e")
            whole, _, part = mantissa.partition(".")
            if not (whole + part).isdigit():
                continue
            digits = max(digits, len((whole + part).strip("0")) or 1)
            decimals = max(decimals, len(part) - int(exponent or 0))
        return cls(digits=min(digits, _WHOLE), decimals=decimals)

    def quantum(self, answers: NDArray[Any]) -> Doubles:
        """The step in which each number was written, same shape: the coarser of the last decimal and the last digit.

        Numbers with a fixed count of decimals have fewer digits when they are small, numbers with a fixed count of
        digits more decimals; the coarser of the two steps is the true one in both cases.
        """
        size = np.abs(np.asarray(answers, dtype=np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            power = np.floor(np.log10(size))
            last = np.where(np.isfinite(power), 10.0 ** (power - self.digits + 1), 0.0)
        return np.asarray(np.maximum(last, 10.0 ** -float(self.decimals)), dtype=np.float64)

    def significant(self, answers: NDArray[Any]) -> float:
        """How many significant digits the largest number of each row has: the median over the rows (rows, ...)."""
        flat = np.asarray(answers, dtype=np.float64).reshape(len(answers), -1)
        largest = np.nanmax(np.where(np.isfinite(flat), np.abs(flat), 0.0), axis=1)
        step = self.quantum(largest)
        found = np.floor(np.log10(np.maximum(largest, step))) - np.round(np.log10(step)) + 1
        return float(np.median(np.minimum(found, self.digits)))


@dataclass(frozen=True)
class Ratios:
    """R of each input; NaN where nothing can be said of one, and why."""

    values: Doubles

    @property
    def decided(self) -> int:
        return int((~np.isnan(self.values)).sum())

    @property
    def undecided(self) -> int:
        return int(np.isnan(self.values).sum())

    @property
    def median(self) -> float:
        """NaN when no input decides."""
        return float(np.nanmedian(self.values)) if self.decided else math.nan

    @property
    def largest(self) -> float:
        return float(np.nanmax(self.values)) if self.decided else math.nan

    def within(self, median: float = MEDIAN, largest: float = LARGEST) -> bool:
        """Whether both limits hold; never when no input decides."""
        return self.decided > 0 and self.median <= median and self.largest <= largest

    def worst(self, count: int) -> list[int]:
        """The rows that are furthest off, beginning with the worst."""
        order = np.argsort(-np.nan_to_num(self.values, nan=-1.0), kind="stable")[:count]
        return [int(row) for row in order if not np.isnan(self.values[row])]

    def join(self, other: "Ratios") -> "Ratios":
        """The larger of both for each input; undecided where either is."""
        return Ratios(np.maximum(self.values, other.values))


def error_ratio(
    observed: NDArray[Any],
    reference: NDArray[Any],
    floor: Doubles,
    *,
    quantum: NDArray[Any] | None = None,
    mask: Mask | None = None,
) -> Ratios:
    """R of each input.

    Args:
        observed: The answers that are judged, shape (rows, ...), any unit.
        reference: The same in float64, same shape and unit.
        floor: The noise floor of each input, shape (rows,), same unit.
        quantum: The step in which the answers were written down, their shape; None: as binary numbers. Rounding to
            steps of q adds an error of q / sqrt(12), root mean square.
        mask: True where a position counts, their shape.

    Returns:
        rms(observed - reference) / floor; infinity as `rms_error`; NaN where the floor is not finite or no position
        counts.
    """
    wide = floor if quantum is None else np.hypot(floor, _rms(quantum, mask) / math.sqrt(12))
    off = rms_error(observed, reference, mask)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Ratios(np.where(np.isfinite(wide) & (wide > 0), off / wide, np.nan))


def _rms(values: NDArray[Any], mask: Mask | None) -> Doubles:
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    if mask is None:
        return np.asarray(np.sqrt(np.mean(flat * flat, axis=1)))
    counts = np.asarray(mask, dtype=np.bool_).reshape(len(mask), -1)
    total = np.sum(np.where(counts, flat * flat, 0.0), axis=1)
    return np.asarray(np.sqrt(total / np.maximum(counts.sum(axis=1), 1)))
