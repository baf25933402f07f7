"""Do a host's findings hold against the bundle that was sent, and against this machine's own?

Verifiers give the same findings for the same bundle, so a host that says otherwise has another bundle, another tool or
another interest. What differs is no answer, with both values in its reason: neither machine is believed over the other.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reversible.bundle.reader import Bundle
from reversible.errors import DestinationError
from reversible.findings import Finding

Line = Mapping[str, Any]
# What the same verifiers try to reach and import is the same wherever they run.
BEHAVIOUR = frozenset(
    {
        "model.network_calls_to_source", "model.vendor_sdk_imports", "residual.calls_to_source",
        "supply.undeclared_hosts",
    }
)  # fmt: skip
_OPS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def check_questions(lines: Iterable[Line], bundle: Bundle, asked: frozenset[tuple[str, str]]) -> None:
    """Every line answers a question that was asked of this bundle, each at most once, and names files of it.

    Args:
        asked: (metric, asset's id) of every check that the installed verifiers make of the bundle's assets.

    Raises:
        DestinationError: one does not: the host did not run what was sent.
    """
    hint = "ssh HOST rm -r .reversible   # and the same command again: everything is sent anew"
    seen: set[tuple[str, str]] = set()
    for line in lines:
        question = (line["metric"], line["asset"])
        if question not in asked:
            raise DestinationError(f"the host answered what nobody asked: {question[0]} on {question[1]}", hint=hint)
        if question in seen:
            raise DestinationError(f"the host answered twice: {question[0]} on {question[1]}", hint=hint)
        seen.add(question)
        if stray := next((path for path in line["files"] if not (bundle.root / path).is_file()), None):
            raise DestinationError(f"the host names a file that the bundle has not: {stray[:200]!r}", hint=hint)


def hold(there: Sequence[Line], here: Sequence[Line], criteria: Sequence[Line]) -> tuple[dict[str, Any], ...]:
    """The host's lines, with those that this machine does not confirm turned into no answer.

    Whole numbers, truth values and texts must be the same. Floating-point values may differ, as processors do, but not
    in what any sealed criterion makes of them.
    """
    own = {(line["metric"], line["asset"]): line for line in here}
    return tuple(_held(line, own.get((line["metric"], line["asset"])), criteria) for line in there)


def hold_behaviour(there: Sequence[Finding], here: Sequence[Finding]) -> tuple[Finding, ...]:
    """The host's findings on the run, less those on the verifiers' behaviour that this machine saw otherwise."""
    own = {one.metric: one.value for one in here if one.metric in BEHAVIOUR and one.value is not None}

    def held(one: Finding) -> Finding:
        if one.value is None or own.get(one.metric, one.value) == one.value:
            return one
        why = f"the host says {one.value!r}, this machine says {own[one.metric]!r}"
        return replace(one, value=None, seen="", facts={}, places=(), error=why)

    return tuple(map(held, there))


def _held(line: Line, own: Line | None, criteria: Sequence[Line]) -> dict[str, Any]:
    if line["status"] != "measured":
        return dict(line)
    if own is None or own["status"] != "measured":
        why = f"the host says {line['value']!r}, this machine could not measure it: {(own or {}).get('error', '')}"
    elif not _same(line, own, criteria):
        why = f"the host says {_told(line)}, this machine says {_told(own)}"
    else:
        return dict(line)
    return {**line, "value": None, "seen": "", "facts": {}, "places": [], "files": [], "error": why, "status": "error"}


def _told(line: Line) -> str:
    return f"{line['value']!r} on {100 * line['coverage']:.3g} % of the scope"


def _same(one: Line, other: Line, criteria: Sequence[Line]) -> bool:
    if not math.isclose(one["coverage"], other["coverage"], abs_tol=1e-9) or one["projected"] != other["projected"]:
        return False
    mine, theirs = one["value"], other["value"]
    if type(mine) is not type(theirs):
        return False
    if not isinstance(mine, float):
        return bool(mine == theirs)
    own = [criterion for criterion in criteria if criterion["metric"] == one["metric"] and criterion["op"] in _OPS]
    for criterion in own:
        bound = criterion.get("value")
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            compare = _OPS[criterion["op"]]
            if compare(mine, bound) != compare(theirs, bound):
                return False
        elif mine != theirs:  # a bound that is known later: nothing may hang on the difference
            return False
    return True
