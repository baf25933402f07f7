"""Poolings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.windows import Windows, windows
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def _along(x: Array, view: Windows, axis: int) -> Windows:
    """The windows of one spatial axis alone: maxima and sums go axis by axis."""
    others = [one for one in range(len(view.kernel)) if one != axis]
    values: dict[str, Any] = {}
    for name in ("kernel", "strides", "dilations", "before", "after", "counts"):
        given = list(getattr(view, name))
        for one in others:
            given[one] = {
                "kernel": 1,
                "strides": 1,
                "dilations": 1,
                "before": 0,
                "after": 0,
                "counts": x.shape[2 + one],
            }[name]
        values[name] = tuple(given)
    return Windows(**values)


def _swept(x: Array, view: Windows, combine: Any) -> Array:
    """x, padded, combined over each window."""
    for axis in range(len(view.kernel)):
        one = _along(x, view, axis)
        out: Array | None = None
        for _, seen in one.offsets():
            part = x[(slice(None), slice(None), *seen)]
            if out is None:
                out = part.copy()
            else:
                combine(out, part, out=out)
        assert out is not None  # noqa: S101 - a kernel has at least one place
        x = out
    return x


@operator("MaxPool", moves=True)
def max_pool(node: Node, x: Array) -> Any:
    view = windows(node, x.shape[2:], node["kernel_shape"])
    _room(node, x, view)
    low: Any = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    padded = view.padded(x, low)
    if not node.wants(1):
        return _swept(padded, view, np.maximum)
    return _with_places(node, x, padded, view, low)


def _with_places(node: Node, x: Array, padded: Array, view: Windows, low: Any) -> tuple[Array, Array]:
    """The maxima and where they lay in x, flattened over all its dimensions; the first of equals."""
    spatial = x.shape[2:]
    numbers = np.arange(math.prod(spatial)).reshape(spatial)
    if node.get("storage_order"):
        numbers = np.arange(math.prod(spatial)).reshape(spatial[::-1]).T
    numbers = view.padded(numbers[None, None], 0)[0, 0]
    best = np.full((*x.shape[:2], *view.counts), low, x.dtype)
    where = np.full(best.shape, -1, np.int64)
    for _, seen in view.offsets():
        part = padded[(slice(None), slice(None), *seen)]
        larger = (part > best) | ((where < 0) & (part == best) & (part != low)) | (np.isnan(part) & ~np.isnan(best))
        best = np.where(larger, part, best)
        where = np.where(larger, numbers[seen], where)
    planes = np.arange(math.prod(x.shape[:2])).reshape((*x.shape[:2],) + (1,) * len(spatial))
    return best, np.maximum(where, 0) + planes * math.prod(spatial)


def _room(node: Node, x: Array, view: Windows) -> None:
    longest = [max(a, (c - 1) * s + (k - 1) * d + 1) + p for a, c, s, k, d, p in zip(
        x.shape[2:], view.counts, view.strides, view.kernel, view.dilations, view.before, strict=True)]  # fmt: skip
    node.limits.room((*x.shape[:2], *longest), x.dtype.itemsize)


@operator("AveragePool")
def average_pool(node: Node, x: Array) -> Array:
    view = windows(node, x.shape[2:], node["kernel_shape"])
    _room(node, x, view)
    total = _swept(view.padded(x, 0), view, np.add)
    count = np.ones((1, 1), x.dtype)
    for axis, size in enumerate(x.shape[2:]):
        # What counts: the input, and with count_include_pad the declared pads too, never what ceil_mode adds.
        first = 0 if node.get("count_include_pad") else view.before[axis]
        last = view.before[axis] + size + (view.after[axis] if node.get("count_include_pad") else 0)
        starts = np.arange(view.counts[axis])[:, None] * view.strides[axis]
        seen = starts + np.arange(view.kernel[axis]) * view.dilations[axis]
        along = ((seen >= first) & (seen < last)).sum(axis=1)
        count = count[..., None] * along.astype(x.dtype)
    return np.asarray(total / count).astype(x.dtype)


@operator("LpPool")
def lp_pool(node: Node, x: Array) -> Array:
    p = node["p"]
    view = windows(node, x.shape[2:], node["kernel_shape"])
    _room(node, x, view)
    return np.asarray(_swept(view.padded(np.abs(x) ** p, 0), view, np.add) ** (1 / p)).astype(x.dtype)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Node, x: Array) -> Array:
    axes = tuple(range(2, x.ndim))
    if node.op_type == "GlobalAveragePool":
        return np.mean(x, axis=axes, keepdims=True)
    if node.op_type == "GlobalMaxPool":
        return np.asarray(np.max(x, axis=axes, keepdims=True))
    p = node["p"]
    return np.asarray(np.sum(np.abs(x) ** p, axis=axes, keepdims=True) ** (1 / p)).astype(x.dtype)


@operator("MaxUnpool", moves=True)
def max_unpool(node: Node, x: Array, places: Array, wanted: Array | None = None) -> Array:
    rank = x.ndim - 2
    kernel = node["kernel_shape"]
    strides, pads = node.get("strides") or (1,) * rank, node.get("pads") or (0,) * 2 * rank
    natural = tuple(
        (size - 1) * strides[at] + kernel[at] - pads[at] - pads[rank + at] for at, size in enumerate(x.shape[2:])
    )
    shape = (*x.shape[:2], *natural)
    node.limits.room(shape, x.dtype.itemsize)
    out = np.zeros(shape, x.dtype)
    if wanted is None:
        out.reshape(-1)[places.reshape(-1)] = x.reshape(-1)
        return out
    larger = np.zeros(tuple(int(one) for one in wanted), x.dtype)
    node.limits.room(larger.shape, x.dtype.itemsize)
    index = np.unravel_index(places.reshape(-1), shape)
    larger[index] = x.reshape(-1)
    return larger
