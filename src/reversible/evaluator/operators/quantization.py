"""Quantised arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from reversible.evaluator.node import Node
from reversible.evaluator.operators.convolution import convolved
from reversible.evaluator.operators.creation import to_float8
from reversible.evaluator.operators.linear import integer_product
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array, integer_ends, largest


def _spread(one: Array, x: Array, axis: int, block: int) -> Array:
    """A scale or zero point for the whole, for each place of the axis, or for each block along it, ready to meet x."""
    if one.ndim == 0 or (one.size == 1 and one.ndim <= 1):
        return one.reshape(())
    if one.ndim == 1 and not block:
        shape = [1] * x.ndim
        shape[axis] = -1
        return one.reshape(shape)
    if not block:
        block = -(-x.shape[axis] // one.shape[axis])
    index = np.arange(x.shape[axis]) // block
    return np.take(one, index, axis=axis)


def _wide(x: Array) -> Array:
    """Exactly, as float64: every type that is quantised to fits, but the ends of int64."""
    if x.dtype.kind == "V" or x.dtype.name.startswith(("float8", "float4", "int4", "uint4", "int2", "uint2", "bfloat")):
        return x.astype(np.float32).astype(np.float64)
    return x.astype(np.float64)


def quantized(x: Array, scale: Array, zero: Array, dtype: np.dtype[Any], *, saturate: bool = True) -> Array:
    """x / scale to nearest even, plus the zero point, cut to the type's range."""
    ratio = x / scale
    if dtype.name.startswith("float8"):
        return to_float8(ratio + _wide(zero), dtype, saturate=saturate)
    if dtype.name.startswith("float4"):
        limit = largest(dtype)
        return np.clip((ratio + _wide(zero)).astype(np.float32), -limit, limit).astype(dtype)
    low, high = integer_ends(dtype)
    codes = np.clip(np.rint(ratio).astype(np.float64) + _wide(zero), low, high)
    whole = np.where(np.isnan(codes), 0, codes).astype(np.int64)
    return whole.astype(np.int8).astype(dtype) if dtype.name in ("int4", "int2") else whole.astype(
        np.uint8).astype(dtype) if dtype.name in ("uint4", "uint2") else whole.astype(dtype)  # fmt: skip


@operator("QuantizeLinear", typed=True)
def quantize_linear(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    axis = node.get("axis", 1)
    axis = axis % x.ndim if x.ndim else 0
    wanted = node.get("output_dtype") or TensorProto.UINT8
    dtype = node.precision.carried(wanted) if zero is None else zero.dtype
    block = node.get("block_size") or 0
    point = np.zeros((), np.float64) if zero is None else _spread(zero, x, axis, block)
    exact = np.float64 if node.precision.wide else np.float32
    return quantized(
        x.astype(exact),
        _spread(scale, x, axis, block).astype(exact),
        point,
        dtype,
        saturate=bool(node.get("saturate", 1)),
    )


@operator("DequantizeLinear", typed=True)
def dequantize_linear(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    axis = node.get("axis", 1)
    axis = axis % x.ndim if x.ndim else 0
    block = node.get("block_size") or 0
    wanted = node.get("output_dtype")
    dtype = node.precision.carried(wanted) if wanted else node.precision.widened(scale.dtype)
    wide = _wide(x)
    if zero is not None:
        wide = wide - _wide(_spread(zero, x, axis, block))
    return np.asarray(wide * _wide(_spread(scale, x, axis, block))).astype(dtype)


@operator("DynamicQuantizeLinear", typed=True)
def dynamic_quantize_linear(node: Node, x: Array) -> tuple[Array, Array, Array]:
    low, high = min(0.0, float(x.min(initial=0))), max(0.0, float(x.max(initial=0)))
    kind = x.dtype.type
    scale = np.asarray((kind(high) - kind(low)) / kind(255))
    point = np.zeros((), np.uint8) if scale == 0 else np.clip(np.rint(-kind(low) / scale), 0, 255).astype(np.uint8)
    divisor = scale if scale != 0 else np.ones_like(scale)
    return quantized(x, divisor, point, np.dtype(np.uint8)), scale, np.asarray(point)


def _along(one: Array, rank: int, axis: int) -> Array:
    """A vector along an axis of a tensor of this rank; a scalar as it is."""
    if one.size == 1:
        return one.reshape(())
    if one.ndim == 1:
        shape = [1] * rank
        shape[axis] = -1
        return one.reshape(shape)
    return one


@operator("QLinearMatMul", typed=True)
def qlinear_matmul(
    node: Node,
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> Array:
    left = _wide(a) - _wide(_along(a_zero, a.ndim, -2))
    right = _wide(b) - _wide(_along(b_zero, b.ndim, -1))
    factor = _wide(_along(a_scale, a.ndim, -2)) * _wide(_along(b_scale, b.ndim, -1))
    return quantized(integer_product(node, left, right) * factor, _wide(_along(y_scale, a.ndim, -2)),
                     _along(y_zero, a.ndim, -2), y_zero.dtype)  # fmt: skip


@operator("QLinearConv", typed=True)
def qlinear_conv(
    node: Node, x: Array, x_scale: Array, x_zero: Array, w: Array, w_scale: Array, w_zero: Array,
    y_scale: Array, y_zero: Array, b: Array | None = None,
) -> Array:  # fmt: skip
    per_filter = (-1,) + (1,) * (w.ndim - 1)
    kernel = _wide(w) - _wide(w_zero).reshape(per_filter if w_zero.size > 1 else ())
    out = convolved(node, _wide(x) - _wide(x_zero).reshape(()), kernel)
    channel = (1, -1) + (1,) * (x.ndim - 2)
    if b is not None:
        out = out + _wide(b).reshape(channel)
    factor = _wide(x_scale).reshape(()) * _wide(w_scale).reshape(channel if w_scale.size > 1 else ())
    return quantized(out * factor, _wide(y_scale).reshape(()), y_zero.reshape(()), y_zero.dtype)
