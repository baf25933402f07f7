"""Matrix products."""

from __future__ import annotations

import math

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def product(node: Node, a: Array, b: Array) -> Array:
    """numpy's matmul, with its size asked first; stacks times one matrix as one product."""
    if a.ndim >= 2 and b.ndim >= 2:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        node.limits.room((*batch, a.shape[-2], b.shape[-1]), a.dtype.itemsize)
    if b.ndim == 2 and a.ndim > 2 and a.shape[-1] == b.shape[0]:
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return (rows @ b).reshape(*a.shape[:-1], b.shape[1])
    return np.asarray(np.matmul(a, b))


@operator("MatMul")
def matmul(node: Node, a: Array, b: Array) -> Array:
    return product(node, a, b)


@operator("Gemm")
def gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    a = a.T if node["transA"] else a
    b = b.T if node["transB"] else b
    out = product(node, a, b)
    if node["alpha"] != 1:
        out = (out * node["alpha"]).astype(out.dtype)
    if c is not None and node["beta"] != 0:
        np.broadcast_shapes(c.shape, out.shape)
        out = (out + (c if node["beta"] == 1 else node["beta"] * c)).astype(out.dtype)
    return out


@operator("Einsum")
def einsum(node: Node, *arrays: Array) -> Array:
    return np.einsum(node["equation"].replace(" ", ""), *arrays, optimize=True)


@operator("MatMulInteger")
def matmul_integer(node: Node, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
    return integer_product(node, _shifted(a, a_zero, -2), _shifted(b, b_zero, -1)).astype(np.int32)


def _shifted(x: Array, zero: Array | None, axis: int) -> Array:
    """x less its zero point, one for all or one for each row (a) or column (b), as exact float64 integers."""
    wide = x.astype(np.float64)
    if zero is None:
        return wide
    point = zero.astype(np.float64)
    if point.ndim == 1 and point.size > 1 and axis == -2:
        point = point[:, None]
    return np.asarray(wide - point)


def integer_product(node: Node, a: Array, b: Array) -> Array:
    """An exact product of small integers: float64 holds every sum below 2^53, and BLAS is fast."""
    return product(node, a, b)
