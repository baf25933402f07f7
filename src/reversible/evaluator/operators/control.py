"""If, Loop, Scan, and sequences and optionals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array

Run = Callable[..., list[Any]]


@operator("If", control=True)
def choose(node: Node, run: Run, condition: Array) -> Any:
    return tuple(run("then_branch" if bool(np.asarray(condition).reshape(-1)[0]) else "else_branch"))


@operator("Loop", control=True)
def loop(node: Node, run: Run, most: Array | None = None, condition: Array | None = None, *carried: Any) -> Any:
    body = node.subgraphs["body"]
    limit = None if most is None else int(np.asarray(most).reshape(-1)[0])
    going = True if condition is None else bool(np.asarray(condition).reshape(-1)[0])
    count = len(body.inputs) - 2
    state = list(carried)
    scanned: list[list[Any]] = [[] for _ in range(len(body.outputs) - 1 - count)]
    held = 0
    step = 0
    while going and (limit is None or step < limit):
        results = run("body", np.array(step, np.int64), np.array(going), *state)
        going = bool(np.asarray(results[0]).reshape(-1)[0])
        state = results[1 : 1 + count]
        for into, one in zip(scanned, results[1 + count :], strict=True):
            into.append(one)
            held += one.nbytes
        node.limits.room((held,), 1)
        step += 1
    return (*state, *(np.stack(one) if one else _nothing(node, body, 1 + count + at) for at, one in enumerate(scanned)))


def _nothing(node: Node, body: Any, output: int) -> Array:
    """What a loop without steps has collected: nothing, of the type and shape that its body declares."""
    dtype, shape = body.declared.get(body.outputs[output], (None, ()))
    known = (one if isinstance(one, int) else 0 for one in shape or ())
    return np.zeros((0, *known), node.precision.widened(np.dtype(dtype or np.float32)))


@operator("Scan", control=True)
def scan_8(node: Node, run: Run, lengths: Array | None, *inputs: Any) -> Any:
    """As in opset 8: each sample of the batch is scanned for itself."""
    if lengths is not None:
        raise ValueError("sequence lengths in a Scan are not covered")
    scanned = node["num_scan_inputs"]
    states = len(inputs) - scanned
    each = [_scan(node, run, states, [one[sample] for one in inputs], scanned, node.get("directions"), None, None, None)
            for sample in range(inputs[0].shape[0])]  # fmt: skip
    return tuple(np.stack(one) for one in zip(*each, strict=True))


@operator("Scan", since=9, control=True)
def scan(node: Node, run: Run, *inputs: Any) -> Any:
    scanned = node["num_scan_inputs"]
    return _scan(
        node, run, len(inputs) - scanned, list(inputs), scanned,
        node.get("scan_input_directions"), node.get("scan_input_axes"),
        node.get("scan_output_directions"), node.get("scan_output_axes"),
    )  # fmt: skip


def _scan(
    node: Node,
    run: Run,
    states: int,
    inputs: list[Any],
    scanned: int,
    backwards: Any,
    axes: Any,
    out_backwards: Any,
    out_axes: Any,
) -> tuple[Any, ...]:
    state = inputs[:states]
    rows = [np.moveaxis(one, axes[at] if axes else 0, 0) for at, one in enumerate(inputs[states:])]
    rows = [np.flip(one, 0) if backwards and backwards[at] else one for at, one in enumerate(rows)]
    if len({one.shape[0] for one in rows}) > 1:
        raise ValueError("the scanned inputs have different lengths")
    collected: list[list[Any]] = []
    held = 0
    for step in range(rows[0].shape[0]):
        results = run("body", *state, *(one[step] for one in rows))
        state = results[:states]
        collected = collected or [[] for _ in results[states:]]
        for into, one in zip(collected, results[states:], strict=True):
            into.append(one)
            held += one.nbytes
        node.limits.room((held,), 1)
    body = node.subgraphs["body"]
    if not collected:
        return (*state, *(_nothing(node, body, at) for at in range(states, len(body.outputs))))
    outs = [np.stack(one[::-1] if out_backwards and out_backwards[at] else one) for at, one in enumerate(collected)]
    return (*state, *(np.moveaxis(one, 0, out_axes[at] if out_axes else 0) for at, one in enumerate(outs)))


@operator("SequenceConstruct", moves=True)
def sequence_construct(node: Node, *arrays: Array) -> list[Array]:
    return list(arrays)


@operator("SequenceEmpty", moves=True)
def sequence_empty(node: Node) -> list[Array]:
    return []


def _place(given: Array | None, size: int) -> int:
    at = size if given is None else int(np.asarray(given).reshape(-1)[0])
    if not -size <= at <= size:
        raise IndexError(f"position {at} of a sequence of {size}")
    return at


@operator("SequenceInsert", moves=True)
def sequence_insert(node: Node, sequence: list[Array], x: Array, at: Array | None = None) -> list[Array]:
    place = _place(at, len(sequence))
    place = place + len(sequence) if place < 0 else place
    return [*sequence[:place], x, *sequence[place:]]


@operator("SequenceErase", moves=True)
def sequence_erase(node: Node, sequence: list[Array], at: Array | None = None) -> list[Array]:
    place = (len(sequence) - 1 if at is None else _place(at, len(sequence))) % max(1, len(sequence))
    return [one for number, one in enumerate(sequence) if number != place]


@operator("SequenceAt", moves=True)
def sequence_at(node: Node, sequence: list[Array], at: Array) -> Array:
    return sequence[_place(at, len(sequence))]


@operator("SequenceLength", moves=True)
def sequence_length(node: Node, sequence: list[Array]) -> Array:
    return np.array(len(sequence), np.int64)


@operator("SplitToSequence", moves=True)
def split_to_sequence(node: Node, x: Array, sizes: Array | None = None) -> list[Array]:
    axis = node["axis"]
    if sizes is None:
        parts = np.split(x, x.shape[axis], axis=axis) if x.shape[axis] else []
        return parts if node["keepdims"] else [np.squeeze(one, axis) for one in parts]
    if np.ndim(sizes) == 0:
        if int(sizes) < 1:
            raise ValueError(f"chunks of {int(sizes)}")
        return np.split(x, range(int(sizes), x.shape[axis], int(sizes)), axis=axis)
    if int(np.sum(sizes)) != x.shape[axis]:
        raise ValueError(f"sizes {list(sizes)} of an axis of {x.shape[axis]}")
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


@operator("ConcatFromSequence", moves=True)
def concat_from_sequence(node: Node, sequence: list[Array]) -> Array:
    return np.stack(sequence, node["axis"]) if node.get("new_axis") else np.concatenate(sequence, node["axis"])


@operator("SequenceMap", control=True)
def sequence_map(node: Node, run: Run, sequence: list[Array], *others: Any) -> Any:
    rows = [
        run("body", one, *(two[at] if isinstance(two, list) else two for two in others))
        for at, one in enumerate(sequence)
    ]
    return tuple([one[at] for one in rows] for at in range(len(node.outputs)))


@operator("Optional", moves=True)
def optional(node: Node, x: Any = None) -> Any:
    return x


@operator("OptionalHasElement", moves=True)
def optional_has_element(node: Node, x: Any = None) -> Array:
    return np.array(x is not None)


@operator("OptionalGetElement", moves=True)
def optional_get_element(node: Node, x: Any = None) -> Any:
    if x is None:
        raise ValueError("the optional is empty")
    return x
