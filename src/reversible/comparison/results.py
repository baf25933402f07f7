"""What does a comparison say?"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from reversible.comparison.classes import Explanation, Kind, Plain
from reversible.comparison.tables import shown

FORMAT = "reversible-comparison/1"


class Outcome(StrEnum):
    """Three values: what could not be compared is never equal."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class Difference:
    """One cell that differs, or one row that is missing, extra or doubled (`column` is then "").

    `row` names the row by its key's values; a keyless one by all of its first columns' values.
    """

    row: Mapping[str, Plain]
    column: str
    left: Plain
    right: Plain
    explanation: Explanation
    families: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        family = self.families.get(self.column, "")
        return {
            "row": {name: shown(value, self.families.get(name, "")) for name, value in self.row.items()},
            "column": self.column,
            "left": shown(self.left, family, most=1000) if self.column else None,
            "right": shown(self.right, family, most=1000) if self.column else None,
            "class": str(self.explanation.kind),
            "detail": self.explanation.detail,
        }


@dataclass
class ColumnSummary:
    """How many cells of a column differ, and how: `kinds` counts the `classified` ones, which may be fewer."""

    column: str
    cells: int = 0
    classified: int = 0
    kinds: Counter[Explanation] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        kinds = [
            {"class": str(one.kind), "detail": one.detail, "cells": count} for one, count in self.kinds.most_common()
        ]
        return {"column": self.column, "cells": self.cells, "classified": self.classified, "classes": kinds}


@dataclass
class Comparison:
    """Counts are exact; `differences` holds the first `limit` of each class and column, `listed_all` says if all.

    `changed` counts rows that stand on both sides with other values; `unpaired` rows that were too many to pair, and
    therefore count as missing and extra. `other_columns` and `other_families` are differences of the schema;
    `not_compared` names columns that could not be looked at, and why. `notes` differ without any value differing.
    """

    left: str
    right: str
    key: tuple[str, ...]
    rows: tuple[int, int]
    columns: tuple[str, ...]
    challenge: str
    digests: tuple[str, str]
    missing: int = 0
    extra: int = 0
    duplicated: int = 0
    changed: int = 0
    unpaired: int = 0
    summaries: dict[str, ColumnSummary] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    listed_all: bool = True
    other_columns: tuple[str, ...] = ()
    other_families: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    not_compared: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        """Cells that differ in rows that stand on both sides."""
        return sum(one.cells for one in self.summaries.values())

    @property
    def outcome(self) -> Outcome:
        rows = self.missing + self.extra + self.duplicated + self.changed
        if rows or self.cells or self.other_columns or self.other_families or self.digests[0] != self.digests[1]:
            return Outcome.DIFFERENT
        return Outcome.NOT_COMPARED if self.not_compared or self.rows[0] != self.rows[1] else Outcome.EQUAL

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "outcome": str(self.outcome),
            "left": {"table": self.left, "rows": self.rows[0], "fingerprint": self.digests[0]},
            "right": {"table": self.right, "rows": self.rows[1], "fingerprint": self.digests[1]},
            "challenge": self.challenge,
            "key": list(self.key),
            "columns": list(self.columns),
            "rows": {
                "missing": self.missing, "extra": self.extra, "duplicated": self.duplicated, "changed": self.changed,
                "not_paired": self.unpaired,
            },
            "cells": self.cells,
            "by_column": [one.to_json() for one in self.summaries.values() if one.cells],
            "differences": [one.to_json() for one in self.differences],
            "differences_listed": "all" if self.listed_all else "some",
            "columns_on_one_side": list(self.other_columns),
            "columns_of_another_type": {name: list(pair) for name, pair in self.other_families.items()},
            "not_compared": dict(self.not_compared),
            "notes": list(self.notes),
        }  # fmt: skip


ROW_KINDS = {"missing": Kind.MISSING, "extra": Kind.EXTRA, "duplicated": Kind.DUPLICATE}
