"""Convolutions, by matrix products over columns of patches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product as all_of
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reversible.evaluator.node import Node
from reversible.evaluator.operators.windows import Windows, windows
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array

_COLUMN_BYTES = 32 << 20  # of patches at a time: more does not run faster


def _at(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """A place in the spatial axes, of all samples and channels."""
    return (slice(None), slice(None), *place)


@operator("Conv")
def conv(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    out = convolved(node, x, w)
    return out if b is None else out + b.reshape((1, -1) + (1,) * (x.ndim - 2))


def convolved(node: Node, x: Array, w: Array) -> Array:
    """x (n, c, *spatial) with w (m, c / groups, *kernel): (n, m, *counts)."""
    groups = node.get("group", 1)
    n, channels = x.shape[:2]
    m = w.shape[0]
    if w.ndim != x.ndim or w.shape[1] * groups != channels or m % groups:
        raise ValueError(f"weights of shape {w.shape} in {groups} groups do not fit an input of shape {x.shape}")
    view = windows(node, x.shape[2:], w.shape[2:])
    out_shape = (n, m, *view.counts)
    node.limits.room(out_shape, x.dtype.itemsize)
    if 0 in out_shape or x.size == 0:
        return np.zeros(out_shape, x.dtype)
    node.limits.room((n, channels, *(one + two + three for one, two, three in zip(
        x.shape[2:], view.before, view.after, strict=True))), x.dtype.itemsize)  # fmt: skip
    x = view.padded(x, 0)
    if w.shape[1] == 1 and groups == channels and m == channels:
        return _depthwise(x, w, view)
    out = np.empty((n, m, math.prod(view.counts)), x.dtype)
    weights = w.reshape(groups, m // groups, -1)
    each = channels // groups
    for batch, group in all_of(_batches(n, each * math.prod(view.kernel) * math.prod(view.counts)), range(groups)):
        columns = _columns(x[batch, group * each : (group + 1) * each], view)
        rows = slice(group * (m // groups), (group + 1) * (m // groups))
        out[batch, rows] = np.matmul(weights[group], columns)
    return out.reshape(out_shape)


def _batches(n: int, size: int) -> Iterator[slice]:
    step = max(1, _COLUMN_BYTES // max(1, size * 8))
    return (slice(first, first + step) for first in range(0, n, step))


def _columns(x: Array, view: Windows) -> Array:
    """Patches of padded x (n, c, *spatial) as (n, c * kernel, counts)."""
    n, c = x.shape[:2]
    rank = len(view.kernel)
    if all(one == 1 for one in (*view.kernel, *view.strides)):
        inside: tuple[slice, ...] = (slice(None), slice(None), *(slice(0, count) for count in view.counts))
        return x[inside].reshape(n, c, -1)
    columns = np.empty((n, c, *view.kernel, *view.counts), x.dtype)
    for place, seen in view.offsets():
        columns[_at(place)] = x[_at(seen)]
    return columns.reshape(n, c * math.prod(view.kernel), math.prod(columns.shape[2 + rank :]))


def _depthwise(x: Array, w: Array, view: Windows) -> Array:
    """One kernel for each channel: a sum over the kernel's places, without columns."""
    out = np.zeros((*x.shape[:2], *view.counts), x.dtype)
    for place, seen in view.offsets():
        weight = w[:, 0][_at(place)[1:]].reshape((-1,) + (1,) * len(view.counts))
        out += x[_at(seen)] * weight
    return out


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    groups, rank = node["group"], x.ndim - 2
    if w.ndim != x.ndim or w.shape[0] != x.shape[1] or x.shape[1] % groups:
        raise ValueError(f"weights of shape {w.shape} in {groups} groups do not fit an input of shape {x.shape}")
    strides = tuple(node.get("strides") or (1,) * rank)
    dilations = tuple(node.get("dilations") or (1,) * rank)
    extra = tuple(node.get("output_padding") or (0,) * rank)
    full = tuple(
        (size - 1) * stride + (kernel - 1) * dilation + 1
        for size, stride, kernel, dilation in zip(x.shape[2:], strides, w.shape[2:], dilations, strict=True)
    )
    before, sizes = _transposed_extent(node, x.shape[2:], full, strides, extra)
    n, out_channels = x.shape[0], w.shape[1] * groups
    longest = tuple(max(one, start + two) for one, start, two in zip(full, before, sizes, strict=True))
    node.limits.room((n, out_channels, *longest), x.dtype.itemsize)
    node.limits.room((n, out_channels, *w.shape[2:], *x.shape[2:]), x.dtype.itemsize)
    out = np.zeros((n, out_channels, *longest), x.dtype)
    each_in, each_out = x.shape[1] // groups, w.shape[1]
    places = Windows(tuple(w.shape[2:]), strides, dilations, (0,) * rank, (0,) * rank, x.shape[2:])
    for group in range(groups):
        kernels = w[group * each_in : (group + 1) * each_in].reshape(each_in, -1)
        inputs = x[:, group * each_in : (group + 1) * each_in].reshape(n, each_in, -1)
        spread = np.matmul(kernels.T, inputs).reshape(n, each_out, *w.shape[2:], *x.shape[2:])
        rows = slice(group * each_out, (group + 1) * each_out)
        for place, seen in places.offsets():
            out[:, rows][_at(seen)] += spread[_at(place)]
    out = out[(slice(None), slice(None), *(slice(one, one + two) for one, two in zip(before, sizes, strict=True)))]
    return out if b is None else out + b.reshape((1, -1) + (1,) * rank)


def _transposed_extent(
    node: Node, spatial: tuple[int, ...], full: tuple[int, ...], strides: tuple[int, ...], extra: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How much is cut off at the beginning of each axis, and how much remains."""
    rank = len(spatial)
    pads = tuple(node.get("pads") or (0,) * 2 * rank)
    auto = node.get("auto_pad", "NOTSET") or "NOTSET"
    wanted = node.get("output_shape")
    if wanted:
        wanted = tuple(wanted)[-rank:]
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    if wanted:
        total = [max(0, one + two - three) for one, two, three in zip(full, extra, wanted, strict=True)]
        # ConvTranspose: total_padding // 2 at the beginning for SAME_UPPER, at the end otherwise
        before = tuple(one // 2 if auto == "SAME_UPPER" else one - one // 2 for one in total)
        return before, wanted
    sizes = tuple(one + two - pads[at] - pads[rank + at] for at, (one, two) in enumerate(zip(full, extra, strict=True)))
    if min(sizes, default=1) < 0 or min(pads, default=0) < 0 or min((*strides, *extra), default=0) < 0:
        raise ValueError(f"pads {pads} leave nothing of {full}")
    return pads[:rank], sizes


@operator("ConvInteger")
def conv_integer(node: Node, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
    """Exact: float64 holds every sum of products of bytes below 2^53."""
    wide = x.astype(np.float64) - (0 if x_zero is None else x_zero.astype(np.float64))
    kernel = w.astype(np.float64)
    if w_zero is not None:
        kernel = kernel - w_zero.astype(np.float64).reshape((-1,) + (1,) * (w.ndim - 1))
    return convolved(node, wide, kernel).astype(np.int32)


@operator("CausalConvWithState")
def causal_conv(
    node: Node, x: Array, w: Array, b: Array | None = None, past: Array | None = None
) -> tuple[Array, Array]:
    """Depthwise along the last axis, each place seeing itself and the k - 1 before it."""
    k = w.shape[-1]
    before = np.zeros((*x.shape[:2], k - 1), x.dtype) if past is None else past
    longer = np.concatenate([before, x], axis=-1)
    seen = sliding_window_view(longer, k, axis=-1)
    out = np.einsum("nclk,ck->ncl", seen, w[:, 0])
    if b is not None:
        out = out + b[:, None]
    if node["activation"] in ("silu", "swish"):
        out = out / (1 + np.exp(-out))
    return out.astype(x.dtype), longer[..., longer.shape[-1] - (k - 1) :]


@operator("Col2Im")
def col2im(node: Node, columns: Array, image: Array, block: Array) -> Array:
    """Adds blocks back into an image: the transpose of taking patches."""
    spatial, kernel = [int(one) for one in image], [int(one) for one in block]
    view = windows(node, spatial, kernel)
    n = columns.shape[0]
    channels = columns.shape[1] // math.prod(kernel)
    longest = [one + two + three for one, two, three in zip(spatial, view.before, view.after, strict=True)]
    node.limits.room((n, channels, *longest), columns.dtype.itemsize)
    out = np.zeros((n, channels, *longest), columns.dtype)
    parts = columns.reshape(n, channels, *kernel, *view.counts)
    for place, seen in view.offsets():
        out[_at(seen)] += parts[_at(place)]
    return out[_at(tuple(slice(one, one + two) for one, two in zip(view.before, spatial, strict=True)))]
