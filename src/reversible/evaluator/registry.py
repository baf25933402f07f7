"""Which operators are covered, and from which version on?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# The newest opset whose changes were read, by domain: a newer one may mean something else by the same name.
NEWEST = {"": 28, "ai.onnx.ml": 5, "ai.onnx.preview": 1}


@dataclass(frozen=True)
class Kernel:
    """What computes an operator from one of its versions on."""

    call: Callable[..., Any]
    since: int
    moves: bool  # only moves or selects values: nothing is rounded, any type passes
    typed: bool  # chooses the type of its output itself
    control: bool  # runs subgraphs: called with them as keyword arguments


_KERNELS: dict[tuple[str, str], list[Kernel]] = {}


def operator(
    *names: str, domain: str = "", since: int = 1, moves: bool = False, typed: bool = False, control: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function `(node, *inputs) -> output | tuple of outputs`; an input left out is None."""

    def register(call: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            kernels = _KERNELS.setdefault((domain, name), [])
            kernels.append(Kernel(call, since, moves, typed or moves, control))
            kernels.sort(key=lambda one: one.since)
        return call

    return register


def find(domain: str, name: str, version: int) -> Kernel | None:
    """The kernel for this version of an operator, None when it is not covered."""
    fitting = [one for one in _KERNELS.get((domain, name), ()) if one.since <= version]
    return fitting[-1] if fitting else None


def coverage() -> Iterator[tuple[str, str]]:
    """(domain, operator) of all that is covered, in order."""
    yield from sorted(_KERNELS)
