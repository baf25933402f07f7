"""How a fault is planted: in the exported file, in the module before it leaves, or in how texts become numbers.

An edit of a file changes it and returns the names of the nodes of which one must be named as the first that is off.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

Edit = Callable[[ModelProto], set[str]]
Change = Callable[[Any], None]
Weights = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Fault:
    """One fault: an edit of the file, or a change of the module (then `modules` are those that may be named), or of
    the rules by which texts become numbers."""

    name: str
    edit: Edit | None = None
    change: Change | None = None
    modules: tuple[str, ...] = ()
    rules: Change | None = None


def _nodes(model: ModelProto, operator: str) -> list[NodeProto]:
    found = [node for node in model.graph.node if node.op_type == operator]
    if not found:
        raise LookupError(f"there is no {operator} in this file")
    return found


def _users(model: ModelProto, value: str) -> set[str]:
    return {node.name for node in model.graph.node if value in node.input}


def attribute(operator: str, name: str, value: Any, *, at: int | None = None) -> Edit:
    """Set an attribute of the `at`-th node of its operator, or of all."""

    def edit(model: ModelProto) -> set[str]:
        found = _nodes(model, operator)
        chosen = found if at is None else [found[at]]
        for node in chosen:
            kept = [one for one in node.attribute if one.name != name]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(name, value)])
        return {chosen[0].name}

    return edit


def weights(change: Weights, operator: str, at: int = 0, *, place: int = 1) -> Edit:
    """Change the constant that the `at`-th node with one at this place takes there."""

    def edit(model: ModelProto) -> set[str]:
        held = {tensor.name: tensor for tensor in model.graph.initializer}
        node = [one for one in _nodes(model, operator) if len(one.input) > place and one.input[place] in held][at]
        _rewrite(held[node.input[place]], change)
        return _users(model, node.input[place])

    return edit


def all_weights(change: Weights) -> Edit:
    """Change every float constant of two axes or more."""

    def edit(model: ModelProto) -> set[str]:
        chosen = [one for one in model.graph.initializer if one.data_type == 1 and len(one.dims) > 1]
        for tensor in chosen:
            _rewrite(tensor, change)
        return set().union(*(_users(model, tensor.name) for tensor in chosen))

    return edit


def named(change: Weights, ending: str) -> Edit:
    """Change the constant whose name ends so."""

    def edit(model: ModelProto) -> set[str]:
        (tensor,) = (one for one in model.graph.initializer if one.name.endswith(ending))
        _rewrite(tensor, change)
        return _users(model, tensor.name)

    return edit


def _rewrite(tensor: Any, change: Weights) -> None:
    before = numpy_helper.to_array(tensor)
    after = np.ascontiguousarray(change(before.copy()), dtype=before.dtype)
    if after.shape != before.shape or np.array_equal(after, before):
        raise LookupError(f"nothing was planted in {tensor.name}")
    tensor.CopyFrom(numpy_helper.from_array(after, tensor.name))


def bypass(operator: str, at: int = 0, *, place: int = 0) -> Edit:
    """Leave a node out: its input goes on in its place."""

    def edit(model: ModelProto) -> set[str]:
        node = _nodes(model, operator)[at]
        old, new = node.output[0], node.input[place]
        users = _users(model, old)
        makers = {one.output[0]: one for one in model.graph.node}
        if old in {value.name for value in model.graph.output}:
            node.op_type, users = "Identity", {node.name}
            del node.attribute[:], node.input[:]
            node.input.append(new)
            return users
        for one in model.graph.node:
            for number, name in enumerate(one.input):
                if name == old:
                    one.input[number] = new
        model.graph.node.remove(makers[old])
        return users

    return edit


def becomes(operator: str, other: str, at: int = 0, **attributes: Any) -> Edit:
    """Another operator with the same inputs in a node's place."""

    def edit(model: ModelProto) -> set[str]:
        node = _nodes(model, operator)[at]
        node.op_type = other
        node.attribute.extend([helper.make_attribute(key, value) for key, value in attributes.items()])
        return {node.name}

    return edit


def clipped(operator: str, limit: float, at: int = 0) -> Edit:
    """ReLU becomes a clip to [0, limit]."""

    def edit(model: ModelProto) -> set[str]:
        node = _nodes(model, operator)[at]
        for name, value in (("low", 0.0), ("high", limit)):
            model.graph.initializer.append(numpy_helper.from_array(np.float32(value), f"planted.{name}"))
        node.op_type = "Clip"
        node.input.extend(["planted.low", "planted.high"])
        return {node.name}

    return edit


def tree(name: str, change: Callable[[list[Any]], list[Any]]) -> Edit:
    """Change one list of a tree ensemble."""

    def edit(model: ModelProto) -> set[str]:
        (node,) = (one for one in model.graph.node if one.op_type.startswith("TreeEnsemble"))
        (held,) = (one for one in node.attribute if one.name == name)
        field = held.strings if held.strings else held.floats if held.floats else held.ints
        before = list(field)
        del field[:]
        field.extend(change(list(before)))
        if list(field) == before:
            raise LookupError(f"nothing was planted in {name}")
        return {node.name}

    return edit


# --- what happens to weights -------------------------------------------------------------------------------------


def bf16(array: NDArray[Any]) -> NDArray[Any]:
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def fp16(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float16).astype(np.float32)


def int8(array: NDArray[Any]) -> NDArray[Any]:
    step = float(np.abs(array).max()) / 127 or 1.0
    return np.round(array / step).astype(np.float32) * np.float32(step)


def off(factor: float, row: int | tuple[Any, ...] = 0) -> Weights:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[row] *= array.dtype.type(factor)
        return array

    return change


def by(factor: float) -> Weights:
    return lambda array: array * array.dtype.type(factor)


def zeroed(row: int | None = None) -> Weights:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[... if row is None else row] = 0
        return array

    return change


def swapped(first: int = 0, second: int = 1, axis: int = 0) -> Weights:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        order = np.arange(array.shape[axis])
        order[[first, second]] = order[[second, first]]
        return array.take(order, axis=axis)

    return change


def both(*edits: Edit) -> Edit:
    return lambda model: set().union(*[edit(model) for edit in edits])


def transposed(array: NDArray[Any]) -> NDArray[Any]:
    return np.swapaxes(array, -1, -2)


def rolled(array: NDArray[Any]) -> NDArray[Any]:
    return np.roll(array, 1, axis=-2)


def gates(*order: int) -> Weights:
    """Another order of an RNN's gates: arrays (directions, gates x hidden, ...)."""

    def change(array: NDArray[Any]) -> NDArray[Any]:
        whole = (array.ndim == 2 and 2) or 1  # B holds two biases
        parts = np.split(array, len(order) * whole, axis=1)
        at = [turn * len(order) + one for turn in range(whole) for one in order]
        return np.concatenate([parts[one] for one in at], axis=1)

    return change


def forward_twice(array: NDArray[Any]) -> NDArray[Any]:
    array[1] = array[0]
    return array


def step_up(values: Iterable[float]) -> list[float]:
    """The threshold of the first branch, one float32 further."""
    array = np.array(list(values), np.float32)
    array[0] = np.nextafter(array[0], np.float32(np.inf))
    return [float(one) for one in array]
