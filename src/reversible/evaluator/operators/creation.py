"""Operators that make values, or change their type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto

from reversible.errors import EvaluatorError
from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array, declared, largest


@operator("ConstantOfShape", typed=True)
def constant_of_shape(node: Node, wanted: Array) -> Array:
    value = node.get("value")
    fill = np.zeros(1, node.precision.carried(TensorProto.FLOAT)) if value is None else value.reshape(-1)
    shape = tuple(int(one) for one in wanted)
    node.limits.room(shape, fill.dtype.itemsize)
    return np.full(shape, fill[0], fill.dtype)


@operator("Constant", typed=True)
def constant_again(node: Node) -> Array:
    raise EvaluatorError("a constant of that name exists")


@operator("Range", typed=True)
def span(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    first, last, step = (np.asarray(one).reshape(-1)[0] for one in (start, limit, delta))
    if step == 0:
        raise ValueError("a step of 0")
    steps = (float(last) - float(first)) / float(step)
    count = max(0, math.ceil(steps)) if math.isfinite(steps) else 1 << 62
    node.limits.room((count,))
    if np.asarray(start).dtype.kind == "i":
        return first + np.arange(count, dtype=start.dtype) * step
    return np.asarray(first.astype(np.float64) + np.arange(count) * step.astype(np.float64)).astype(start.dtype)


@operator("EyeLike", typed=True)
def eye_like(node: Node, x: Array) -> Array:
    kind = node.get("dtype")
    rows, columns = x.shape
    k = max(-rows, min(columns, node.get("k", 0)))
    return np.eye(rows, columns, k, dtype=x.dtype if kind is None else node.precision.carried(kind))


@operator("Cast", typed=True)
def cast(node: Node, x: Array) -> Array:
    out = cast_to(node, x, node["to"])
    return out.astype(np.float32).astype(out.dtype) if node.rounds else out


@operator("CastLike", typed=True)
def cast_like(node: Node, x: Array, like: Array) -> Array:
    if like.dtype == object:
        return _to_text(node, x)
    return _convert(node, x, like.dtype)


def cast_to(node: Node, x: Array, elem_type: int) -> Array:
    """The value in another declared type, as that type travels."""
    if elem_type == TensorProto.STRING:
        return _to_text(node, x)
    return _convert(node, x, node.precision.carried(elem_type))


def _convert(node: Node, x: Array, dtype: np.dtype[Any]) -> Array:
    if x.dtype == object:
        return _from_text(x, dtype)
    name = dtype.name
    if name.startswith("float8"):
        return to_float8(x, dtype, saturate=bool(node.get("saturate", 1)), mode=node.get("round_mode", "up"))
    if name.startswith("float4"):
        limit = largest(dtype)
        return np.clip(x.astype(np.float32), -limit, limit).astype(dtype)
    if name in ("int4", "uint4", "int2", "uint2"):
        return _to_narrow_integer(x, dtype)
    if x.dtype.kind == "V" and dtype.kind not in "fV":  # ml_dtypes: by way of float32, which holds them all
        x = x.astype(np.float32)
    return x.astype(dtype)


def _to_narrow_integer(x: Array, dtype: np.dtype[Any]) -> Array:
    """Integers out of range lose their higher bits; floats are undefined there, and lose them too."""
    bits, signed = (4 if dtype.name.endswith("4") else 2), dtype.name.startswith("int")
    whole = np.trunc(x.astype(np.float64)).astype(np.int64) if x.dtype.kind in "fV" else x.astype(np.int64)
    low = whole & ((1 << bits) - 1)
    if signed:
        low = np.where(low >= 1 << (bits - 1), low - (1 << bits), low)
    return low.astype(np.int8).astype(dtype)


def to_float8(x: Array, dtype: np.dtype[Any], *, saturate: bool, mode: str = "up") -> Array:
    """By the tables of Cast: to nearest even, the largest number or the type's own overflow beyond it."""
    values = x.astype(np.float32)
    if dtype.name.startswith("float8_e8m0"):
        return _to_e8m0(x.astype(np.float32), dtype, saturate=saturate, mode=mode)
    most = largest(dtype)
    out = values.astype(dtype)
    if saturate:
        over = ~np.isnan(values) & (~np.isfinite(out.astype(np.float32)) | (np.abs(values) > most))
        out = np.where(over, np.copysign(np.float32(most), values), values).astype(dtype)
    elif dtype.name != "float8_e5m2":  # no infinity: beyond the largest is NaN
        rounded = out.astype(np.float32)
        out = np.where(
            np.isinf(values) | ~np.isfinite(rounded), np.copysign(np.float32(np.nan), values), values
        ).astype(dtype)
    return out


def _to_e8m0(x: Array, dtype: np.dtype[Any], *, saturate: bool, mode: str) -> Array:
    """Powers of two from 2^-127 to 2^127, code 255 NaN."""
    size = np.abs(x.astype(np.float64))
    mantissa, exponent = np.frexp(size)  # size = mantissa * 2^exponent, mantissa in [0.5, 1)
    floor = exponent - 1
    over = {"down": np.zeros(x.shape, bool), "up": mantissa > 0.5, "nearest": mantissa >= 0.75}[mode]
    power = floor + over
    if saturate:
        codes = np.where(size == 0, 0, np.clip(power + 127, 0, 254))
        codes = np.where(np.isinf(size), 254, codes)
    else:
        codes = np.where((size == 0) | np.isinf(size) | (power < -127) | (power > 127), 255, power + 127)
    codes = np.where(np.isnan(x), 255, codes)
    return codes.astype(np.uint8).view(dtype)


def _to_text(node: Node, x: Array) -> Array:
    if x.dtype == object:
        return x
    if x.dtype.kind == "b":
        texts = ["True" if one else "False" for one in x.reshape(-1)]
    elif x.dtype.kind in "iu":
        texts = [str(int(one)) for one in x.reshape(-1)]
    else:
        texts = [_shortest(one) for one in x.reshape(-1)]
    out = np.empty(len(texts), object)
    out[:] = texts
    return out.reshape(x.shape)


def _shortest(value: Any) -> str:
    """The shortest text that reads back as the same float32, or float64 where it is no float32."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "INF" if value > 0 else "-INF"
    number = np.float64(value)
    narrow: Any = np.float32(number) if np.float64(np.float32(number)) == number else number
    if value.dtype.itemsize == 2:
        narrow = value if value.dtype == np.float16 else narrow
    return str(narrow)


def _from_text(x: Array, dtype: np.dtype[Any]) -> Array:
    texts = x.reshape(-1)
    if dtype.kind in "iu":
        values: list[Any] = [int(one) if _is_integer(one) else int(float(one)) for one in texts]
        return np.array(values, object).astype(dtype).reshape(x.shape)
    if dtype.kind == "b":
        return np.array([one not in ("", "0", "False", "false") for one in texts], bool).reshape(x.shape)
    return np.array([float(one) for one in texts], np.float64).astype(dtype).reshape(x.shape)


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


@operator("BitCast", moves=True)
def bit_cast(node: Node, x: Array) -> Array:
    wanted = declared(node["to"])
    if node.precision.wide and (x.dtype == np.float64 or node.precision.widened(wanted) != wanted):
        raise EvaluatorError("the bits of a float are those of its declared type: evaluate in float32")
    return np.ascontiguousarray(x).view(wanted).reshape(x.shape)


@operator("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
def random(node: Node, *inputs: Array) -> Array:
    raise EvaluatorError("random numbers have no reproducible result")
