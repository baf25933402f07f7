"""In which order is a graph computed, and when can each value go?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reversible.errors import EvaluatorError
from reversible.evaluator.node import Node
from reversible.evaluator.registry import Kernel
from reversible.evaluator.types import Array


@dataclass(frozen=True)
class Step:
    node: Node
    kernel: Kernel
    dead: tuple[str, ...] = ()  # what nobody asks for afterwards


@dataclass(frozen=True)
class Program:
    """A graph, a subgraph or a function body, ready to run."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    steps: tuple[Step, ...]
    captures: frozenset[str]  # names that it takes from the graph around it
    steady: frozenset[str]  # values that a perturbation must leave alone: sizes, scales, codes
    declared: Mapping[str, tuple[object, tuple[object, ...] | None]]  # of outputs: their type and shape


def assemble(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    constants: Mapping[str, Array],
    pairs: Iterable[tuple[Node, Kernel]],
    *,
    closed: bool,
    declared: Mapping[str, tuple[object, tuple[object, ...] | None]],
) -> Program:
    """Orders the nodes and says after which of them each value is dead.

    Args:
        closed: Nothing may come from outside (the main graph and functions).

    Raises:
        EvaluatorError: A value is produced twice, or never, or the graph has a cycle.
    """
    ordered, captures = _ordered(name, list(pairs), {*inputs, *constants})
    produced = {*inputs, *constants, *(one for node, _ in ordered for one in node.outputs)}
    captures |= {one for one in outputs if one and one not in produced}
    if closed and captures:
        raise EvaluatorError(f"{name}: {_few(captures)} used and never produced")
    last: dict[str, int] = {}
    for at, (node, _) in enumerate(ordered):
        for one in (*node.outputs, *_used(node)):
            last[one] = at
    for one in outputs:
        last.pop(one, None)
    dead: dict[int, list[str]] = {}
    for one, at in last.items():
        if one and one in produced:
            dead.setdefault(at, []).append(one)
    steps = tuple(Step(node, kernel, tuple(dead.get(at, ()))) for at, (node, kernel) in enumerate(ordered))
    known = frozenset({*inputs, *constants})
    steady = _steady(steps, known, outputs)
    return Program(name, tuple(inputs), tuple(outputs), constants, steps, frozenset(captures), steady, declared)


def _used(node: Node) -> set[str]:
    within: set[str] = {one for program in node.subgraphs.values() for one in program.captures}
    return within | {one for one in node.inputs if one}


def _ordered(
    name: str, pairs: list[tuple[Node, Kernel]], known: set[str]
) -> tuple[list[tuple[Node, Kernel]], set[str]]:
    """The nodes with each after those it needs; as they stand when that is so already."""
    maker: dict[str, int] = {}
    for at, (node, _) in enumerate(pairs):
        for one in node.outputs:
            if one and (one in maker or one in known):
                raise EvaluatorError(f"{name}: the value {one} is produced twice")
            maker[one] = at
    captures: set[str] = set()
    waits: list[set[int]] = []
    for node, _ in pairs:
        used = _used(node)
        captures |= {one for one in used if one not in maker and one not in known}
        waits.append({maker[one] for one in used if one in maker})
    done: set[int] = set()
    order: list[int] = []
    followers: dict[int, list[int]] = {}
    for at, needed in enumerate(waits):
        for before in needed:
            followers.setdefault(before, []).append(at)
    left = [len(needed) for needed in waits]
    if all(before < at for at, needed in enumerate(waits) for before in needed):
        return pairs, captures
    ready = [at for at, count in enumerate(left) if count == 0]
    while ready:
        at = ready.pop()
        done.add(at)
        order.append(at)
        for after in followers.get(at, ()):
            left[after] -= 1
            if left[after] == 0:
                ready.append(after)
    stuck = [pairs[at][0].name or pairs[at][0].op_type for at in range(len(pairs)) if at not in done]
    if stuck:
        raise EvaluatorError(f"{name}: the graph has a cycle through {_few(stuck)}")
    return [pairs[at] for at in order], captures


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


# Inputs that say how large something is, or are codes: a relative error of 2^-24 there is another model, not noise.
_SIZES = {"Resize": (1, 2, 3), "Upsample": (1,), "Range": (0, 1, 2), "OneHot": (0, 1), "Multinomial": ()}
_CODES = {"TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble", "LabelEncoder", "OneHotEncoder"}
_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Floor", "Ceil", "Round", "Cast", "Min", "Max", "Pow", "Sqrt", "ReduceProd"}


def _steady(steps: tuple[Step, ...], given: frozenset[str], outputs: Sequence[str]) -> frozenset[str]:
    """Values all of whose uses are sizes or codes, or arithmetic that leads to sizes alone."""
    steady: set[str] = set()
    sizes: set[str] = set()
    uses: dict[str, list[tuple[Step, int]]] = {}
    for step in steps:
        for at, one in enumerate(step.node.inputs):
            uses.setdefault(one, []).append((step, at))
        for one in (name for program in step.node.subgraphs.values() for name in program.captures):
            uses.setdefault(one, []).append((step, -1))

    def size(one: str) -> bool:
        return one not in outputs and all(
            at in _SIZES.get(step.node.op_type, ())
            or ((step.kernel.moves or step.node.op_type in _ARITHMETIC) and sizes.issuperset(step.node.outputs))
            for step, at in uses.get(one, ())
        )

    def code(one: str) -> bool:
        return one not in outputs and all(
            one in sizes
            or step.node.op_type in _CODES
            or (step.node.op_type in ("Cast", "CastLike") and step.node.attributes.get("to") not in _TO_FLOAT)
            or (step.kernel.moves and steady.issuperset(step.node.outputs))
            for step, _ in uses.get(one, ())
        )

    names = [one for step in reversed(steps) for one in step.node.outputs if one]
    for one in (*names, *given):
        if uses.get(one) and size(one):
            sizes.add(one)
    # the number of a leaf, cast to a whole one, is a code too: rounded off it would name another leaf
    moved = {one for step in steps if step.kernel.moves or step.node.op_type in _CODES for one in step.node.outputs}
    for one in (*names, *given):
        if uses.get(one) and (one in given or one in moved) and code(one):
            steady.add(one)
    return frozenset(steady | sizes)


_TO_FLOAT = {1, 10, 11, 16, None}  # TensorProto: FLOAT, FLOAT16, DOUBLE, BFLOAT16; CastLike has no `to`
