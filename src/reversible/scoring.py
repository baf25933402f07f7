"""How much of the exit was shown, in numbers that a hostile reader cannot turn round?

Three figures, never added to each other:

- The *headline*: the lowest proof level among the blocking clauses, and how many there are of each verdict.
- The *measured index*, a range: what is unknown is as wide as it is.
- The *dossier index*: documents accepted out of those required.

And the bounds for samples, one-sided at 95 %: a sample never speaks by its point estimate.
"""

import math
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reversible.clauses import Verdict
from reversible.levels import ProofLevel
from reversible.verdicts import ClauseVerdict

__all__ = [
    "DossierIndex",
    "Headline",
    "MeasuredIndex",
    "ProofLevel",
    "dossier_index",
    "headline",
    "lower_bound",
    "measured_index",
    "upper_bound",
]

CAP_FAILED = 49  # catalogue, scoring.caps: any blocking FAILED
CAP_NOT_TESTED = 79  # catalogue, scoring.caps: any blocking NOT_TESTED

_BISECTIONS = 200  # each halves the interval: far below the last bit of a float
_TERMS = 10_000  # of the continued fraction; it needs O(sqrt(max(a, b)))
_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Headline:
    level: ProofLevel
    blocking: Mapping[Verdict, int]


@dataclass(frozen=True, kw_only=True)
class MeasuredIndex:
    """From 0 to 100; `low` counts what is unknown as 0, `high` as 1. `cap`: 49, 79 or none."""

    low: float
    high: float
    cap: int | None


@dataclass(frozen=True, kw_only=True)
class DossierIndex:
    """`value` from 0 to 100, None when no document is required."""

    value: float | None
    accepted: int
    required: int


def headline(verdicts: Sequence[ClauseVerdict]) -> Headline:
    """The lowest proof level among the blocking clauses, and their number by verdict.

    The level of a clause is the run's own (N3 at most on a stand-in) when every one of its required checks holds on
    the whole scope: PROVEN, DOCUMENT_NEEDED, or PARTIAL for want of level alone. It is N0 for anything else: FAILED,
    NOT_TESTED, PARTIAL because something is missed, unanswered, sampled or projected. DOCUMENTED has nothing to
    measure, so it does not pull the level down; when there is nothing else, the level is N1 (read). NOT_APPLICABLE
    is left out. So "N3" says: each blocking clause that can be measured holds, restored without its source.
    """
    blocking = [one for one in verdicts if one.clause.severity == "blocking"]
    counts = Counter(one.verdict for one in blocking)
    apart = (Verdict.NOT_APPLICABLE, Verdict.DOCUMENTED)
    levels = [one.shown for one in blocking if one.verdict not in apart]
    only_read = ProofLevel.N1 if counts[Verdict.DOCUMENTED] else ProofLevel.N0
    return Headline(level=min(levels, default=only_read), blocking={one: n for one, n in counts.items() if n})


def measured_index(verdicts: Sequence[ClauseVerdict], weights: Mapping[str, int]) -> MeasuredIndex:
    """100 * sum(w * s) / sum(w) over the applicable clauses that require a machine's measurement, as a range.

    Args:
        verdicts: The clauses' verdicts.
        weights: By severity, from the catalogue: 5, 2, 1.

    Returns:
        s is 1 for PROVEN and for DOCUMENT_NEEDED (all checks hold), 0 for FAILED, and 0 in `low`, 1 in `high` for
        NOT_TESTED. For PARTIAL it is the smallest coverage of the checks that hold, where a missed check counts 0, an
        unanswered one 0 in `low` and 1 in `high`, and a level below the required one, or a projection, 0 in `low`:
        at the level that counts nothing was shown. Clauses that only documents or typed numbers settle are not in
        it: typed values never prove. Both ends are cut at the cap: 49 with a blocking FAILED, else 79 with a
        blocking NOT_TESTED.

    Source:
        The catalogue's `scoring` section.
    """
    counted = [one for one in verdicts if one.measurable and one.verdict is not Verdict.NOT_APPLICABLE]
    total = sum(weights[one.clause.severity] for one in counted)
    blocking = {one.verdict for one in verdicts if one.clause.severity == "blocking"}
    cap = CAP_FAILED if Verdict.FAILED in blocking else CAP_NOT_TESTED if Verdict.NOT_TESTED in blocking else None

    def index(share: Callable[[ClauseVerdict], float]) -> float:
        if not total:
            return 0.0
        value = 100 * math.fsum(weights[one.clause.severity] * share(one) for one in counted) / total
        return value if cap is None else min(value, float(cap))

    return MeasuredIndex(low=index(lambda one: one.low), high=index(lambda one: one.high), cap=cap)


def dossier_index(verdicts: Sequence[ClauseVerdict]) -> DossierIndex:
    """100 * documents accepted / documents required, over the applicable clauses."""
    required = [one for verdict in verdicts for one in verdict.documents if one.required]
    accepted = sum(one.status == "accepted" for one in required)
    value = 100 * accepted / len(required) if required else None
    return DossierIndex(value=value, accepted=accepted, required=len(required))


def upper_bound(k: int, n: int, confidence: float = 0.95) -> float:
    """The one-sided Clopper-Pearson upper bound of a rate.

    Args:
        k: How many of the sample were off, 0 <= k <= n.
        n: The sample's size, at least 1.
        confidence: One-sided, within 0 and 1.

    Returns:
        The largest rate p for which seeing k or fewer in n still has probability 1 - confidence; 1.0 when k is n.
        About 3/n when k is 0 and confidence 0.95. Found by bisection; its own error is below 1e-9 of the value.

    Raises:
        ValueError: k, n or confidence lies outside its range.

    Source:
        C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413: p solves I_p(k + 1, n - k) = confidence, I the
        regularised incomplete beta function.
    """
    k, n = _counts(k, n, confidence)
    if k == n:
        return 1.0
    if k == 0:
        return -math.expm1(math.log1p(-confidence) / n)
    return _bisect(lambda p: _incomplete_beta(k + 1, n - k, p), confidence)


def lower_bound(k: int, n: int, confidence: float = 0.95) -> float:
    """The one-sided Clopper-Pearson lower bound of a rate: 1 - upper_bound(n - k, n).

    Args:
        k: How many of the sample agreed, 0 <= k <= n.
        n: The sample's size, at least 1.
        confidence: One-sided, within 0 and 1.

    Raises:
        ValueError: k, n or confidence lies outside its range.
    """
    k, n = _counts(k, n, confidence)
    if k == 0:
        return 0.0
    if k == n:
        return math.exp(math.log1p(-confidence) / n)
    return _bisect(lambda p: _incomplete_beta(k, n - k + 1, p), 1 - confidence)


def _counts(k: int, n: int, confidence: float) -> tuple[int, int]:
    k, n = operator.index(k), operator.index(n)  # numpy's whole numbers too
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no count of a sample")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not within 0 and 1")
    return k, n


def _bisect(rising: Callable[[float], float], target: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if rising(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), a and b above 0, x within 0 and 1.

    Source:
        The continued fraction DLMF 8.17.22, evaluated by the modified Lentz method (Thompson and Barnett, J. Comput.
        Phys. 64 (1986) 490); the symmetry DLMF 8.17.4 keeps x on the side where it converges fast.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _away(1 + even * d), _away(1 + even / c)
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _away(1 + odd * d), _away(1 + odd / c)
        fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            return front * fraction
    raise ArithmeticError(f"the incomplete beta function did not converge at a={a}, b={b}, x={x}")


def _away(value: float) -> float:
    """A denominator kept off zero, as the Lentz method asks."""
    return value if abs(value) > _TINY else _TINY
