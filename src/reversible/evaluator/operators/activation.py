"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.special import erf, log_softmax, sigmoid, softmax, softplus
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + erf(x / np.sqrt(2.0).astype(x.dtype))))


_ALPHA: dict[str, Callable[[Array, Any], Array]] = {
    "Sigmoid": lambda x, node: sigmoid(x),
    "Softplus": lambda x, node: softplus(x),
    "Softsign": lambda x, node: x / (1 + np.abs(x)),
    "Mish": lambda x, node: x * np.tanh(softplus(x)),
    "HardSwish": lambda x, node: x * np.clip(x / 6 + 0.5, 0, 1),
    "Elu": lambda x, node: np.where(x < 0, node["alpha"] * np.expm1(np.minimum(x, 0)), x),
    "Celu": lambda x, node: np.maximum(x, 0) + np.minimum(0, node["alpha"] * np.expm1(x / node["alpha"])),
    "Selu": lambda x, node: node["gamma"] * np.where(x > 0, x, node["alpha"] * np.expm1(np.minimum(x, 0))),
    "HardSigmoid": lambda x, node: np.clip(node["alpha"] * x + node["beta"], 0, 1),
    "LeakyRelu": lambda x, node: np.where(x < 0, node["alpha"] * x, x),
    "ThresholdedRelu": lambda x, node: np.where(x > node["alpha"], x, 0),
    "Gelu": lambda x, node: gelu(x, node["approximate"]),
    "Swish": lambda x, node: x * sigmoid(node["alpha"] * x),
}


def _register(name: str, function: Callable[[Array, Any], Array]) -> None:
    @operator(name)
    def activation(node: Node, x: Array) -> Array:
        return np.asarray(function(x, node)).astype(x.dtype, copy=False)


for _name, _function in _ALPHA.items():
    _register(_name, _function)


@operator("Relu", moves=True)
def relu(node: Node, x: Array) -> Array:
    return np.maximum(x, x.dtype.type(0))


@operator("PRelu")
def prelu(node: Node, x: Array, slope: Array) -> Array:
    if node.since < 7 and slope.ndim == 1 and x.ndim > 1:  # one slope for each channel
        slope = slope.reshape((-1,) + (1,) * (x.ndim - 2))
    return np.where(x < 0, x * slope, x).astype(x.dtype)


@operator("Shrink")
def shrink(node: Node, x: Array) -> Array:
    bias, edge = node["bias"], node["lambd"]
    return np.asarray(np.where(x < -edge, x + bias, np.where(x > edge, x - bias, 0))).astype(x.dtype)


@operator("SwiGLU")
def swiglu(node: Node, a: Array, b: Array) -> Array:
    return np.asarray(a * sigmoid(node["alpha"] * a) * b).astype(a.dtype)


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax_flattened(node: Node, x: Array) -> Array:
    """Before opset 13 all dimensions from the axis on are one."""
    at = node["axis"] % max(x.ndim, 1)
    rows = x.reshape(int(np.prod(x.shape[:at])), -1)
    return _along(node.op_type, rows, -1).reshape(x.shape)


@operator("Softmax", "LogSoftmax", "Hardmax", since=13)
def softmax_along(node: Node, x: Array) -> Array:
    return _along(node.op_type, x, node["axis"])


def _along(op_type: str, x: Array, axis: int) -> Array:
    if op_type == "Softmax":
        return softmax(x, axis)
    if op_type == "LogSoftmax":
        return log_softmax(x, axis)
    out = np.zeros_like(x)
    if x.size:
        np.put_along_axis(out, np.expand_dims(np.argmax(x, axis=axis), axis), 1, axis)
    return out
