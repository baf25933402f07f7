"""Of which tables does a sample bear witness, how large is it, and which rows does a key's own hash draw?

A sample needs a key (docs/adr/0016). Where the engine draws no repeatable sample of its own, the key decides: a row is
drawn when the SHA-256 of seed, table and key lies below the chance. Whoever has the source or the copy draws the same
rows again, whatever order they lie in.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from reversible.plan.sampling import SamplingSettings, drawn_seed

_SIGMAS = 5  # above the wanted rows: fewer come with a chance below 1e-6
DIGITS = 13  # hex digits of a hash that decide: 52 bits, so that a chance is a double


@dataclass(frozen=True)
class Sampling:
    """What the plan says: tables of more than `above_rows` rows are sampled, for at least `rows` of them."""

    above_rows: int
    rows: int
    seed: str

    @classmethod
    def of(cls, settings: SamplingSettings) -> Self | None:
        """None where every table is read whole. Whoever sealed no seed gets one drawn now."""
        if settings.sample_above_rows is None:
            return None
        return cls(settings.sample_above_rows, settings.sample_rows, settings.seed or drawn_seed())

    def chance(self, population: int) -> float | None:
        """Each row's chance, below 1; None where the table is small enough to be read whole."""
        if population <= self.above_rows:
            return None
        chance = (self.rows + _SIGMAS * math.sqrt(self.rows)) / population
        return chance if chance < 1 else None

    def threshold(self, population: int) -> "Threshold | None":
        """The same for a draw by the key's hash."""
        chance = self.chance(population)
        below = 0 if chance is None else int(chance * 16**DIGITS)
        return Threshold(below, self.seed) if below else None


@dataclass(frozen=True)
class Threshold:
    """A row is drawn when the first DIGITS hex digits of its hash are a number smaller than `below`."""

    below: int
    seed: str

    @property
    def rate(self) -> float:
        """Each row's chance, exactly."""
        return float(self.below / 16**DIGITS)

    @property
    def text(self) -> str:
        """A hash of lower-case hex digits is smaller than this text, or it is not drawn."""
        return f"{self.below:0{DIGITS}x}"

    def prefix(self, table: str) -> str:
        """What stands before the key in the hashed text: the SHA-256 of ["seed", "table"] in JSON, in hex."""
        return hashlib.sha256(json.dumps([self.seed, table]).encode()).hexdigest()

    def draws(self, prefix: str, key: Iterable[str]) -> bool:
        """Whether a row is drawn whose key's columns are these texts of hex digits."""
        return hashlib.sha256(" ".join((prefix, *key)).encode()).hexdigest() < self.text


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def nullable(self) -> bool: ...


def identity(
    primary_key: Sequence[str], unique: Sequence[dict[str, Any]], columns: Sequence[_Named]
) -> tuple[str, ...]:
    """The columns that no two rows share, never NULL; none where the server promises no such thing."""
    if primary_key:
        return tuple(primary_key)
    never_null = {column.name for column in columns if not column.nullable}
    return next((tuple(one["columns"]) for one in unique if set(one["columns"]) <= never_null), ())
