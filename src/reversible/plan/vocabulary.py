"""Which words of the catalogue may a plan use?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The catalogue's ids, as far as a plan quotes them."""

    profiles: tuple[str, ...]
    flags: tuple[str, ...]
    metrics: Mapping[str, tuple[str, str]]  # id -> (producer, type)
    measured: Mapping[str, tuple[str, ...]]  # clause -> the metrics of its criteria
    documents: Mapping[str, tuple[str, ...]]  # clause -> the ids of the documents it asks for

    @property
    def facts(self) -> tuple[str, ...]:
        """The metrics that a person reads in the contract."""
        return tuple(metric for metric, (producer, _) in self.metrics.items() if producer == "contract")


@cache
def vocabulary() -> Vocabulary:
    """The installed catalogue's."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = (resources.files("reversible") / "catalogue/clauses.yaml").read_bytes()
    rows = yaml.load(content, Loader=loader)  # noqa: S506 - one of the two safe loaders
    return Vocabulary(
        profiles=tuple(rows["profiles"]),
        flags=tuple(rows["scope_flags"]),
        metrics={name: (row["producer"], row["type"]) for name, row in rows["metrics"].items()},
        measured={row["id"]: tuple(check["metric"] for check in row["checks"]) for row in rows["clauses"]},
        documents={row["id"]: tuple(one["id"] for one in row["documents"]) for row in rows["clauses"]},
    )
