"""Operators that reduce axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array

Axes = tuple[int, ...] | None


def _extreme(x: Array, axes: Axes, keep: bool, largest: bool) -> Array:
    if x.dtype.kind == "b":
        return (np.any if largest else np.all)(x, axis=axes, keepdims=keep)
    if x.dtype.kind in "iu":
        ends = np.iinfo(x.dtype)
        first: Any = ends.min if largest else ends.max
    else:
        first = -np.inf if largest else np.inf
    return np.asarray((np.max if largest else np.min)(x, axis=axes, keepdims=keep, initial=first))


def _log_sum_exp(x: Array, axes: Axes, keep: bool) -> Array:
    x = x.astype(np.float64) if x.dtype.kind in "iu" else x
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    out = np.log(np.sum(np.exp(x - top), axis=axes, keepdims=True)) + top
    return out if keep else np.squeeze(out, axes if axes is not None else tuple(range(x.ndim)))


_REDUCTIONS: dict[str, Callable[[Array, Axes, bool], Any]] = {
    "ReduceSum": lambda x, axes, keep: np.sum(x, axis=axes, keepdims=keep, dtype=x.dtype),
    "ReduceMean": lambda x, axes, keep: np.mean(x, axis=axes, keepdims=keep),
    "ReduceProd": lambda x, axes, keep: np.prod(x, axis=axes, keepdims=keep, dtype=x.dtype),
    "ReduceMax": lambda x, axes, keep: _extreme(x, axes, keep, largest=True),
    "ReduceMin": lambda x, axes, keep: _extreme(x, axes, keep, largest=False),
    "ReduceL1": lambda x, axes, keep: np.sum(np.abs(x), axis=axes, keepdims=keep, dtype=x.dtype),
    "ReduceL2": lambda x, axes, keep: np.sqrt(np.sum(x * x, axis=axes, keepdims=keep)),
    "ReduceSumSquare": lambda x, axes, keep: np.sum(x * x, axis=axes, keepdims=keep, dtype=x.dtype),
    "ReduceLogSum": lambda x, axes, keep: np.log(np.sum(x, axis=axes, keepdims=keep)),
    "ReduceLogSumExp": _log_sum_exp,
}
# Of an empty set: what the operator's body gives, not an error.
_OF_ONE: dict[str, Callable[[Array], Array]] = {
    "ReduceL1": np.abs, "ReduceL2": np.abs, "ReduceSumSquare": np.square, "ReduceLogSum": np.log,
}  # fmt: skip


def _register(name: str, function: Callable[[Array, Axes, bool], Any]) -> None:
    @operator(name, moves=name in ("ReduceMax", "ReduceMin"))
    def reduce(node: Node, x: Array, axes: Array | None = None) -> Array:
        chosen = node.get("axes") if axes is None else tuple(int(one) for one in axes.reshape(-1))
        if not chosen:
            if node.get("noop_with_empty_axes"):
                return _OF_ONE[name](x) if name in _OF_ONE else x
            chosen = None
        return np.asarray(function(x, chosen, bool(node["keepdims"]))).astype(x.dtype, copy=False)


for _name, _function in _REDUCTIONS.items():
    _register(_name, _function)


@operator("ArgMax", "ArgMin", moves=True)
def arg(node: Node, x: Array) -> Array:
    axis = node["axis"] % max(x.ndim, 1)
    choose = np.argmax if node.op_type == "ArgMax" else np.argmin
    if node.get("select_last_index"):
        found = x.shape[axis] - 1 - choose(np.flip(x, axis), axis=axis)
    else:
        found = choose(x, axis=axis)
    out = np.asarray(found, np.int64)
    return np.expand_dims(out, axis) if node["keepdims"] else out


@operator("TopK", moves=True)
def top_k(node: Node, x: Array, k: Array | None = None) -> tuple[Array, Array]:
    axis = node["axis"] % max(x.ndim, 1)
    count = int(node["k"] if k is None else k.reshape(-1)[0])
    if not 0 <= count <= x.shape[axis]:
        raise ValueError(f"{count} of {x.shape[axis]} elements were asked for")
    order = _descending(x, axis) if node.get("largest", 1) else np.argsort(x, axis=axis, kind="stable")
    chosen = np.take(order, np.arange(count), axis=axis)
    return np.take_along_axis(x, chosen, axis), chosen.astype(np.int64)


def _descending(x: Array, axis: int) -> Array:
    """The order from the largest, equals by their place, NaN first."""
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)


@operator("Unique", moves=True)
def unique(node: Node, x: Array) -> tuple[Array, ...]:
    axis = node.get("axis")
    rows = x.reshape(-1) if axis is None else x
    values, first, inverse, counts = np.unique(
        rows,
        return_index=True,
        return_inverse=True,
        return_counts=True,
        axis=0 if axis is None else axis,
        equal_nan=False,
    )
    inverse = inverse.reshape(-1)
    if not node["sorted"]:
        order = np.argsort(first, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(order.size)
        values = np.take(values, order, axis=0 if axis is None else axis)
        first, inverse, counts = first[order], places[inverse], counts[order]
    return values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


@operator("NonZero", moves=True)
def non_zero(node: Node, x: Array) -> Array:
    found = np.nonzero(np.atleast_1d(x) != (0 if x.dtype.kind != "O" else ""))
    return np.array(found, np.int64).reshape((x.ndim if x.ndim else 1, -1))[: x.ndim]
