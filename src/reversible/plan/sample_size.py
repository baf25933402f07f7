"""Is a sample that the plan asks for large enough for what the clauses ask of it?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reversible import clauses
from reversible.comparison.sampling import CONFIDENCE
from reversible.plan.sampling import SamplingSettings

if TYPE_CHECKING:
    from reversible.clauses import Criterion
    from reversible.plan.exit_plan import Plan

_METRIC = "data.mismatch_rate_ub95"


@dataclass(frozen=True)
class Shortfall:
    """A source whose samples miss a criterion on a large table, even where every drawn row is clean.

    Attributes:
        source: Its name in the plan.
        rows: The plan's sample_rows.
        needed: The smallest sample_rows that meets the criterion on tables of any size.
        bound: The mismatch rate that `rows` clean rows leave open, without unit.
        criterion: What asks for less.
    """

    source: str
    rows: int
    needed: int
    bound: float
    criterion: "Criterion"


def shortfalls(plan: "Plan") -> Iterator[Shortfall]:
    """One for each source and criterion that do not go together."""
    for criterion in clauses.criteria(clauses.load(), plan.profiles, plan.overrides):
        asked = criterion.value
        if criterion.metric != _METRIC or criterion.op not in ("<", "<=") or not isinstance(asked, int | float):
            continue
        for name, settings in plan.settings.items():
            if not isinstance(settings, SamplingSettings) or settings.sample_above_rows is None:
                continue
            if bound(settings.sample_rows) > asked:
                needed = rows_for(float(asked))
                yield Shortfall(name, settings.sample_rows, needed, bound(settings.sample_rows), criterion)


def bound(rows: int) -> float:
    """The largest mismatch rate of a table of any size of which so many rows were drawn and all are clean.

    Source:
        (1 - p)^rows = 1 - confidence: the limit of the hypergeometric bound (`comparison.sampling`) for large tables,
        which approaches it from below.
    """
    return -math.expm1(math.log1p(-CONFIDENCE) / rows)


def rows_for(rate: float) -> int:
    """The fewest clean rows that bound the rate so, 0 < rate < 1."""
    return math.ceil(math.log1p(-CONFIDENCE) / math.log1p(-rate))
