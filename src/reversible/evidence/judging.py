"""Which part of the clause catalogue judges, in JSON?

The catalogue is YAML, for people. Whoever checks a dossier with the standard library alone reads data/clauses.json:
what the verdicts depend on and nothing else, as the catalogue writes it.
"""

import hashlib
from functools import lru_cache
from typing import Any

from reversible.bundle.writer import json_bytes
from reversible.clauses import rows

FORMAT = "reversible-judging/1"
_CLAUSE = ("id", "family", "severity", "kind", "proof_level", "profiles", "sources", "validity_days")
_DOCUMENT = ("id", "required", "when")


@lru_cache(maxsize=4)
def of(catalogue: bytes) -> bytes:
    """The bytes of data/clauses.json that belong to a catalogue.

    Raises:
        UsageError: it is not YAML.
        KeyError, TypeError: it is no catalogue.
    """
    found = rows.parse(catalogue)
    return json_bytes(
        {
            "format": FORMAT,
            "catalogue_sha256": hashlib.sha256(catalogue).hexdigest(),
            "clauses": [_clause(one) for one in found["clauses"]],
            "metrics": {
                name: {"type": one["type"], "producer": one["producer"]} for name, one in found["metrics"].items()
            },
            "sources": {
                name: {"text": one["text"], "article": one["article"]} for name, one in found["sources"].items()
            },
            "profiles": sorted(found["profiles"]),
            "weights": found["scoring"]["weights"],
        }
    )


def _clause(clause: dict[str, Any]) -> dict[str, Any]:
    documents = [{name: one[name] for name in _DOCUMENT if name in one} for one in clause.get("documents", ())]
    checks = [{**one, **_days(one)} for one in clause.get("checks", ())]
    return {**{name: clause[name] for name in _CLAUSE}, "checks": checks, "documents": documents}


def _days(check: dict[str, Any]) -> dict[str, str]:
    return {name: str(check[name]) for name in ("from", "until") if name in check}
