"""How does what was seen of a re-run travel from the host that ran it to the one that judges?

As JSON, and believed about its shape only when it has exactly it. The findings on the run, the level and the trust in
the log are drawn here, at home, from what was seen: the host says what happened, never what it means.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from reversible.destinations.canaries import Canary
from reversible.destinations.isolation import Observed
from reversible.errors import DestinationError
from reversible.fence import Attempt, Fenced
from reversible.findings import Finding

FORMAT = "reversible-rerun/1"
_STATUSES = ("measured", "error")
_LINE_KEYS = frozenset({*Finding("", None, None, unit="").to_json(), "status"})


@dataclass(frozen=True)
class Flown:
    """A run that held canaries only, as it was seen."""

    fenced: Fenced
    canaries: tuple[Canary, ...]


def to_json(observed: Observed, isolation: Mapping[str, Any]) -> dict[str, Any]:
    """All of it, and of the isolation what `local.conclude` is told beside it."""
    document = {
        name: getattr(observed, name)
        for name in ("control_port", "sources", "targets", "summary", "crash", "lines", "secret")
    }
    return {
        "format": FORMAT,
        "about": {name: isolation[name] for name in ("outside", "environment")},
        "observed": {
            **document,
            "models": sorted(observed.models),
            "fenced": asdict(observed.fenced),
            "during": [asdict(one) for one in observed.during],
            "before": {
                "fenced": asdict(observed.before.fenced),
                "canaries": [asdict(one) for one in observed.before.canaries],
            },
            "after": {
                "fenced": asdict(observed.after.fenced),
                "canaries": [asdict(one) for one in observed.after.canaries],
            },
        },
    }


def from_json(content: bytes) -> tuple[Observed, dict[str, Any]]:
    """What was seen, and what else the evidence keeps of it: the arguments of `local.conclude`.

    Raises:
        DestinationError: it is not exactly such an account.
    """
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
        said, about = document["observed"], document["about"]
        for line in said["lines"]:
            _check_line(line)
        observed = Observed(
            fenced=_fenced(said["fenced"]), before=_flown(said["before"]), during=_canaries(said["during"]),
            after=_flown(said["after"]), secret=_of(str, said["secret"]), control_port=_of(int, said["control_port"]),
            sources=_texts(said["sources"]), targets=_texts(said["targets"]), summary=_summary(said["summary"]),
            crash=_of(str, said["crash"]), lines=tuple(said["lines"]), models=frozenset(_texts(said["models"])),
        )  # fmt: skip
        _texts(about["environment"])
        return observed, {"outside": [dict(one) for one in about["outside"]], "environment": about["environment"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DestinationError(
            f"the host's account of the re-run is none: {type(error).__name__}: {error}",
            hint="reversible kit build KIT   # a new one, and the same command again",
        ) from error


def _check_line(line: Any) -> None:
    """Raises ValueError for what is no line of results."""
    if not isinstance(line, dict) or set(line) != _LINE_KEYS:
        raise ValueError("a line has other members than a finding")
    if {**Finding.from_json(line).to_json(), "status": line["status"]} != line:
        raise ValueError(f"a line is no finding: {line['metric']!r}")
    if line["status"] not in _STATUSES or (line["status"] == "measured") != (line["value"] is not None):
        raise ValueError(f"{line['metric']!r} has the status {line['status']!r} and the value {line['value']!r}")
    for key in ("metric", "unit", "seen", "error"):
        _of(str, line[key])
    _of(bool, line["projected"])
    if isinstance(line["coverage"], bool) or not 0 <= line["coverage"] <= 1:
        raise ValueError(f"{line['metric']!r} has the coverage {line['coverage']!r}")


def _fenced(said: Any) -> Fenced:
    if set(said) != {one.name for one in fields(Fenced)}:
        raise ValueError("the account of a fence has other members")
    for key in ("kind", "note", "stdout", "stderr"):
        _of(str, said[key])
    for key in ("counted", "names_seen"):
        _of(bool, said[key])
    for key in ("returncode", "unlogged"):
        if said[key] is not None:
            _of(int, said[key])
    attempts = tuple(Attempt(**one) for one in said["attempts"])
    return Fenced(**{**said, "attempts": attempts, "limits": _texts(said["limits"]),
                     "refused_kinds": dict(said["refused_kinds"])})  # fmt: skip


def _canaries(said: Any) -> tuple[Canary, ...]:
    found = tuple(
        Canary(**{**one, "expected": tuple((proto, host, port) for proto, host, port in one["expected"])})
        for one in said
    )
    for one in found:
        _of(str, one.target), _of(str, one.answer), _of(bool, one.control), _of(bool, one.reached)
    return found


def _flown(said: Any) -> Flown:
    return Flown(_fenced(said["fenced"]), _canaries(said["canaries"]))


def _summary(said: Any) -> dict[str, Any]:
    """What the process said of itself; empty when it did not come to that."""
    found: dict[str, Any] = _of(dict, said)
    if found:
        _texts(found["vendor_modules"])
        _texts(found["credentials"])
        for one in found["refused_imports"]:
            _of(bool, one["probe"])
            for key in ("module", "package", "during", "by"):
                _of(str, one[key])
    return found


def _texts(said: Any) -> tuple[str, ...]:
    return tuple(_of(str, one) for one in _of(list, said))


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
