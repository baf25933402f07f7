"""What was measured?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

Scalar = bool | int | float | str
Value = Scalar | tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One measurement of one metric on one asset. A verifier measures; it does not judge.

    `value` is None when nothing could be measured; `error` then says why, and the finding answers nothing.
    `seen` is one English sentence with {names} that `facts` fills: the report translates the sentence and
    formats the numbers. `places` name where it is wrong ("column total_ttc, row id=17"), in the owner's own
    names. `coverage` is the measured share of the declared scope, from 0 to 1.
    """

    metric: str
    asset: str | None  # the asset's id; None: the whole run
    value: Value | None
    unit: str = field(kw_only=True)
    seen: str = field(kw_only=True, default="")
    facts: Mapping[str, Scalar] = field(kw_only=True, default_factory=dict)
    places: tuple[str, ...] = field(kw_only=True, default=())
    files: tuple[str, ...] = field(kw_only=True, default=())
    coverage: float = field(kw_only=True, default=1.0)
    projected: bool = field(kw_only=True, default=False)
    error: str = field(kw_only=True, default="")

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "asset": self.asset,
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "unit": self.unit,
            "seen": self.seen,
            "facts": dict(self.facts),
            "places": list(self.places),
            "files": list(self.files),
            "coverage": self.coverage,
            "projected": self.projected,
            "error": self.error,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        value = document["value"]
        return cls(
            document["metric"],
            document["asset"],
            tuple(value) if isinstance(value, list) else value,
            unit=document["unit"],
            seen=document["seen"],
            facts=document["facts"],
            places=tuple(document["places"]),
            files=tuple(document["files"]),
            coverage=document["coverage"],
            projected=document["projected"],
            error=document["error"],
        )
