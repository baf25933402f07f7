"""What must both sides agree on before they hash?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pyarrow as pa

from reversible.fingerprint import families
from reversible.fingerprint.mixing import VERSION

MAX_BUCKETS = 1 << 16
SKETCH_CELLS = 510  # decodes about 400 differing row images; three tables of 170 cells
MAX_SKETCH_CELLS = 3 << 20
_COARSE_BITS = 12  # at most 4,096 coarse buckets: one sum per column each


@dataclass(frozen=True)
class Column:
    """A column as its owner declares it; `family` is the logical type, as `families.family` writes it."""

    name: str
    family: str


@dataclass(frozen=True)
class Cells:
    """One column's values in one batch.

    `exceptions` maps row numbers in the batch to the source's text, for values that the typed column cannot hold;
    `values` is NULL there.
    """

    values: pa.Array
    exceptions: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What both sides must agree on before they hash.

    Args:
        challenge: Any text; the same on both sides, unknown when the data was written.
        columns: The columns, in any order: their names count, their order does not.
        key: Names of the columns that identify a row; empty when none do. Decides the buckets.
        buckets: A power of two from 1 to 65,536; `buckets_for(rows)` gives the usual one.
        sketch: Cells of the set-reconciliation sketch, a multiple of three; 0 for none.
    """

    challenge: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    buckets: int = 1
    sketch: int = SKETCH_CELLS

    def __post_init__(self) -> None:
        if not 1 <= self.buckets <= MAX_BUCKETS or self.buckets & (self.buckets - 1):
            raise ValueError(f"buckets must be a power of two from 1 to {MAX_BUCKETS}: {self.buckets}")
        if not 0 <= self.sketch <= MAX_SKETCH_CELLS or self.sketch % 3:
            raise ValueError(f"the sketch's cells must be a multiple of three up to {MAX_SKETCH_CELLS}: {self.sketch}")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names) or not set(self.key) <= set(names) or len(set(self.key)) != len(self.key):
            raise ValueError("column names must be unique, and the key must name columns, each once")
        for column in self.columns:
            families.parse(column.family)

    @property
    def bits(self) -> int:
        return self.buckets.bit_length() - 1

    @property
    def coarse_shift(self) -> int:
        """How many low bits of a bucket's number the coarse grid drops: 4 for 65,536 buckets, 0 up to 4,096."""
        return max(0, self.bits - _COARSE_BITS)

    @property
    def key_places(self) -> tuple[int, ...]:
        """Where the key's columns stand among the plan's."""
        names = [column.name for column in self.columns]
        return tuple(names.index(name) for name in self.key)

    def to_json(self) -> dict[str, Any]:
        return {
            "fingerprint": VERSION,
            "challenge": self.challenge,
            "columns": [{"name": column.name, "family": column.family} for column in self.columns],
            "key": list(self.key),
            "buckets": self.buckets,
            "sketch": self.sketch,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The plan of a witness.

        Raises:
            ValueError: another version of the fingerprint, or not a plan.
        """
        try:
            if document["fingerprint"] != VERSION:
                raise ValueError(f"fingerprint {document['fingerprint']!r} is not {VERSION}")
            columns = tuple(Column(_text(one["name"]), _text(one["family"])) for one in document["columns"])
            key = tuple(_text(name) for name in document["key"])
            buckets, sketch = _whole(document["buckets"]), _whole(document["sketch"])
            return cls(_text(document["challenge"]), columns, key, buckets, sketch)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a stored plan: {type(error).__name__} {error}") from error


def buckets_for(rows: int) -> int:
    """The power of two from eight per row, from 1 to 65,536: in a small table a differing bucket names one row."""
    return min(MAX_BUCKETS, 1 << max(0, 8 * rows - 1).bit_length())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    value.encode()  # UnicodeEncodeError, a ValueError, for a lone surrogate: it has no UTF-8
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value
