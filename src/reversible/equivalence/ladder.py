"""Which rung does a port reach?

B bit-identical, N numerically equivalent, D decision-equivalent within a stated flip rate, F not equivalent,
U undetermined. A rung is never said without how many inputs, of which population, with which bound, and the digest
of the inputs.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible import scoring
from reversible.equivalence import ratio
from reversible.equivalence.ratio import Ratios

FEWEST = 20  # inputs; with fewer, "the median" and "the largest" say too little
FLIP_RATE = 0.001  # clause MOD-03: decisions agree in at least 99.9 % of cases
UNDECIDED = 0.05  # the largest share of inputs of which nothing can be said

# Why nothing can be said. Sentences without numbers: the report translates them.
UNSTEADY = "the source gives different answers to the same question: no comparison with it can decide"
TOO_FEW = "fewer than 20 distinct inputs were asked: no rung is given"
ALL_THE_SAME = "every input gets the same answer: nothing was tried"
TOO_COARSE = "the answers were recorded with fewer than 6 significant digits: small defects would be lost"
OVERFLOWS = "legitimate float32 arithmetic itself gives no finite answer on too many of the inputs"
NO_DECISION = "each answer is one number and no threshold makes a decision of it: name one in the plan (decision)"
TOO_FEW_JUDGED = "the float64 reference covers too few inputs to say how many of the others get the endpoint's number"
NAMES_ALONE = "the endpoint answers with names alone: there are no numbers to hold against each other"
TOO_FEW_NAMES = "no decision differs, and too few inputs show it: the endpoint answers with names alone"
NO_REFERENCE = "there is no float64 reference"
# Why it is not equivalent.
MISNAMED = "decisions differ although their numbers agree: other labels, or another order of them"
NAMES_DIFFER = "decisions differ in more inputs than may be"
OFF_NUMBERS = "the answers are further off than float32 explains"
OFF = "the answers are further off than float32 explains, and decisions differ or too few inputs show that they do not"


class Rung(StrEnum):
    """From the best to the worst; U is none."""

    BIT_IDENTICAL = "B"
    NUMERICAL = "N"
    DECISION = "D"
    FAILED = "F"
    UNDETERMINED = "U"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of one output.

    Attributes:
        output: Its name.
        population: What the inputs are a sample of, in words.
        inputs_sha256: The digest of the inputs.
        n: Distinct inputs asked.
        identical: Whether all answers are the same bits.
        distinct: How many different answers there are: with one, nothing was tried.
        ratios: R of each input; None when no reference could be had, and `why` says the reason.
        flips: Inputs with another decision; where nothing is decided, those whose numbers are further off than float32
            explains.
        unexplained: Those of them whose numbers are too close for it: other labels, or another order of them.
        decides: Whether answers make decisions: without any, none can flip, and D is never reached.
        deterministic: Whether the source repeats itself to within the floor.
        digits: Significant digits of the recording; None when it is binary.
        names_alone: Whether the source says what was decided and no numbers: then D is the best that can be reached.
        why: The reason for which `ratios` is None.
    """

    output: str
    population: str
    inputs_sha256: str
    n: int
    identical: bool
    distinct: int
    ratios: Ratios | None
    flips: int
    unexplained: int = 0
    decides: bool = True
    deterministic: bool = True
    digits: float | None = None
    names_alone: bool = False
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The rung of one output, and all that it may not be said without.

    Attributes:
        rung: The rung.
        seen: What it rests on.
        flip_bound: The one-sided 95 % upper bound of the flip rate (Clopper-Pearson).
        flip_rate: The rate that D was asked to stay below.
        reason: Why it is U or F; empty otherwise.
    """

    rung: Rung
    seen: Seen
    flip_bound: float
    flip_rate: float
    reason: str = ""


def stand(
    seen: Seen,
    *,
    median: float = ratio.MEDIAN,
    largest: float = ratio.LARGEST,
    flip_rate: float = FLIP_RATE,
    confidence: float = 0.95,
) -> Standing:
    """The rung that what was seen gives.

    Args:
        seen: One output.
        median: The largest median of R for N.
        largest: The largest R for N.
        flip_rate: The rate that the bound must not exceed for D.
        confidence: Of that bound, one-sided.
    """
    bound = scoring.upper_bound(seen.flips, seen.n, confidence) if seen.n else 1.0

    def at(rung: Rung, reason: str = "") -> Standing:
        return Standing(rung=rung, seen=seen, flip_bound=bound, flip_rate=flip_rate, reason=reason)

    if not seen.deterministic:
        return at(Rung.UNDETERMINED, UNSTEADY)
    if seen.n < FEWEST:
        return at(Rung.UNDETERMINED, TOO_FEW)
    if seen.distinct < 2:
        return at(Rung.UNDETERMINED, ALL_THE_SAME)
    if seen.names_alone:
        if bound <= flip_rate:
            return at(Rung.DECISION)
        return at(Rung.FAILED, NAMES_DIFFER) if seen.flips else at(Rung.UNDETERMINED, TOO_FEW_NAMES)
    if seen.unexplained:
        return at(Rung.FAILED, MISNAMED)
    if seen.identical:
        return at(Rung.BIT_IDENTICAL)
    if seen.digits is not None and seen.digits < ratio.DIGITS:
        return at(Rung.UNDETERMINED, TOO_COARSE)
    if seen.ratios is None:
        return at(Rung.UNDETERMINED, seen.why or NO_REFERENCE)
    if seen.ratios.undecided > UNDECIDED * len(seen.ratios.values):
        return at(Rung.UNDETERMINED, OVERFLOWS)
    if seen.ratios.within(median, largest):
        return at(Rung.NUMERICAL)
    if seen.decides and bound <= flip_rate:
        return at(Rung.DECISION)
    return at(Rung.FAILED, OFF if seen.decides else OFF_NUMBERS)


def inputs_sha256(feeds: dict[str, NDArray[Any]]) -> str:
    """The digest of named inputs: of their names, types, shapes and bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(feeds):
        array = np.ascontiguousarray(feeds[name])
        little = array.dtype.newbyteorder("<")
        digest.update(f"{name}\0{little.str}\0{array.shape}\0".encode())
        plain = array.dtype.kind in "fiub"
        digest.update(array.astype(little).tobytes() if plain else repr(array.tolist()).encode())
    return digest.hexdigest()
