"""Operators that compute each element from the elements at the same place."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.special import erf
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array

_UNARY: dict[str, Callable[[Array], Array]] = {
    "Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh, "Atan": np.arctan,
    "Atanh": np.arctanh, "Cos": np.cos, "Cosh": np.cosh, "Erf": erf, "Exp": np.exp, "Log": np.log,
    "Reciprocal": np.reciprocal, "Sin": np.sin, "Sinh": np.sinh, "Sqrt": np.sqrt, "Tan": np.tan, "Tanh": np.tanh,
}  # fmt: skip
_EXACT: dict[str, Callable[[Array], Array]] = {
    "Abs": np.abs, "BitwiseNot": np.invert, "Ceil": np.ceil, "Floor": np.floor, "IsNaN": np.isnan, "Neg": np.negative,
    "Not": np.logical_not, "Round": np.rint, "Sign": np.sign,
}  # fmt: skip
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add, "Mul": np.multiply, "Sub": np.subtract,
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "Less": np.less, "LessOrEqual": np.less_equal,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip


def _register_unary(name: str, function: Callable[[Array], Array], *, moves: bool) -> None:
    @operator(name, moves=moves)
    def unary(node: Node, x: Array) -> Array:
        return function(x)


def _register_binary(name: str, function: Callable[[Array, Array], Array]) -> None:
    @operator(name)
    def binary(node: Node, a: Array, b: Array) -> Array:
        return np.asarray(function(*together(node, a, b)))


for _name, _unary in _UNARY.items():
    _register_unary(_name, _unary, moves=False)
for _name, _unary in _EXACT.items():
    _register_unary(_name, _unary, moves=True)
for _name, _binary in _BINARY.items():
    _register_binary(_name, _binary)


def together(node: Node, a: Array, b: Array) -> tuple[Array, Array]:
    """The two, ready to broadcast; before opset 7 `axis` says where the second one's first dimension lies."""
    if node.since < 7 and node.get("broadcast"):
        axis = node.get("axis")
        axis = a.ndim - b.ndim if axis is None else axis % a.ndim
        b = b.reshape(b.shape + (1,) * (a.ndim - axis - b.ndim))
    room(node, a, b)
    return a, b


def room(node: Node, *arrays: Array) -> None:
    """What the arrays broadcast to may be held."""
    if len({one.shape for one in arrays}) > 1:
        node.limits.room(np.broadcast_shapes(*(one.shape for one in arrays)), max(one.dtype.itemsize for one in arrays))


@operator("Div")
def div(node: Node, a: Array, b: Array) -> Array:
    a, b = together(node, a, b)
    if a.dtype.kind in "iu":  # truncates towards zero
        quotient = np.floor_divide(a, b)
        return quotient + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))).astype(a.dtype)
    return np.divide(a, b)


@operator("Mod")
def mod(node: Node, a: Array, b: Array) -> Array:
    room(node, a, b)
    return np.asarray(np.fmod(a, b) if node.get("fmod") else np.mod(a, b))


@operator("Pow")
def power(node: Node, a: Array, b: Array) -> Array:
    a, b = together(node, a, b)
    if a.dtype.kind in "iu" and b.dtype.kind in "iu" and np.all(b >= 0):
        return np.power(a, b.astype(a.dtype))
    wide = np.power(a.astype(np.float64), b) if a.dtype.kind in "iu" else np.power(a, b.astype(a.dtype))
    return np.asarray(wide).astype(a.dtype)


@operator("Sum", "Mean")
def total(node: Node, *arrays: Array) -> Array:
    room(node, *arrays)
    result = reduce(np.add, arrays)
    return np.asarray(result / len(arrays)).astype(result.dtype) if node.op_type == "Mean" else result


@operator("Max", "Min", moves=True)
def extreme(node: Node, *arrays: Array) -> Array:
    room(node, *arrays)
    return reduce(np.maximum if node.op_type == "Max" else np.minimum, arrays)


@operator("Clip", moves=True)
def clip_by_attributes(node: Node, x: Array) -> Array:
    lowest, highest = node.get("min", -np.inf), node.get("max", np.inf)
    return np.clip(x, np.asarray(lowest, x.dtype), np.asarray(highest, x.dtype))


@operator("Clip", since=11, moves=True)
def clip(node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    if low is not None:
        x = np.maximum(x, low)
    if high is not None:
        x = np.minimum(x, high)  # a low above the high: the high wins
    return x


@operator("BitShift")
def bit_shift(node: Node, a: Array, b: Array) -> Array:
    room(node, a, b)
    left = node["direction"] == "LEFT"
    width = a.dtype.itemsize * 8
    inside = np.clip(b, 0, width - 1).astype(a.dtype)  # by the width or more: numpy leaves it to the processor
    shifted = np.left_shift(a, inside) if left else np.right_shift(a, inside)
    beyond = np.zeros_like(shifted) if left else np.right_shift(np.broadcast_to(a, shifted.shape), width - 1) >> 1
    return np.asarray(np.where((b >= width) | (b < 0), beyond, shifted).astype(a.dtype))


@operator("IsInf", moves=True)
def is_inf(node: Node, x: Array) -> Array:
    positive, negative = node["detect_positive"], node["detect_negative"]
    x = x.astype(np.float64) if x.dtype.itemsize < 4 else x
    return np.asarray((bool(positive) & np.isposinf(x)) | (bool(negative) & np.isneginf(x)))


@operator("Where", moves=True)
def where(node: Node, condition: Array, x: Array, y: Array) -> Array:
    room(node, condition, x, y)
    return np.where(condition, x, y)


@operator("CumSum", "CumProd")
def cumulate(node: Node, x: Array, axis: Array) -> Array:
    at = int(np.asarray(axis).reshape(-1)[0]) % x.ndim
    product = node.op_type == "CumProd"
    x = np.flip(x, at) if node.get("reverse") else x
    out = (np.cumprod if product else np.cumsum)(x, axis=at, dtype=x.dtype)
    if node.get("exclusive"):
        out = np.roll(out, 1, at)
        out[(slice(None),) * at + (slice(0, 1),)] = int(product)
    return np.flip(out, at) if node.get("reverse") else out


@operator("Det")
def det(node: Node, x: Array) -> Array:
    return np.asarray(np.linalg.det(x)).astype(x.dtype)


@operator("Dropout")
def dropout(node: Node, x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
    """As at inference; in training mode only where nothing is dropped."""
    rate = 0.5 if ratio is None else float(ratio)
    if training is not None and bool(training) and rate != 0:
        raise ValueError("dropping at random has no reproducible result")
    mask = np.ones(x.shape, bool) if node.since >= 10 else np.ones_like(x)
    return (x, mask) if node.wants(1) else x
