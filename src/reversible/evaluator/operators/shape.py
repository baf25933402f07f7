"""Operators that rearrange: shapes, slices, copies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def axes_of(given: Any, rank: int) -> tuple[int, ...]:
    """Axes counted from the front; raises ValueError for one outside or given twice."""
    axes = [int(one) for one in np.asarray(given).reshape(-1)]
    if any(not -rank <= one < rank for one in axes):
        raise ValueError(f"axes {axes} of a tensor of rank {rank}")
    found = tuple(one % rank for one in axes)
    if len(set(found)) < len(found):
        raise ValueError(f"axes {axes} name one twice")
    return found


@operator("Identity", moves=True)
def identity(node: Node, x: Any) -> Any:
    return x


@operator("Shape", moves=True)
def shape(node: Node, x: Array) -> Array:
    return np.array(x.shape[node.get("start", 0) : node.get("end")], np.int64)


@operator("Size", moves=True)
def size(node: Node, x: Array) -> Array:
    return np.array(x.size, np.int64)


@operator("Reshape", moves=True)
def reshape(node: Node, x: Array, wanted: Array | None = None) -> Array:
    target = [int(one) for one in (node["shape"] if wanted is None else wanted)]
    if not node.get("allowzero"):
        target = [x.shape[at] if one == 0 else one for at, one in enumerate(target)]
    if -1 in target and x.size == 0:  # numpy does not solve for it
        rest = math.prod(one for one in target if one != -1)
        target = [(0 if rest else 1) if one == -1 else one for one in target]
    return x.reshape(target)


@operator("Flatten", moves=True)
def flatten(node: Node, x: Array) -> Array:
    axis = node["axis"] + x.ndim if node["axis"] < 0 else node["axis"]
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose", moves=True)
def transpose(node: Node, x: Array) -> Array:
    return np.transpose(x, node.get("perm"))


@operator("Squeeze", moves=True)
def squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    chosen = node.get("axes") if axes is None else axes
    return np.squeeze(x, None if chosen is None else axes_of(chosen, x.ndim))


@operator("Unsqueeze", moves=True)
def unsqueeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    given = node["axes"] if axes is None else axes
    chosen = axes_of(given, x.ndim + np.asarray(given).size)
    return np.expand_dims(x, chosen)


@operator("Concat", moves=True)
def concat(node: Node, *arrays: Array) -> Array:
    axis = node.get("axis", 1)
    if arrays[0].ndim:
        total = list(arrays[0].shape)
        total[axis] = sum(one.shape[axis] for one in arrays)
        node.limits.room(total, arrays[0].dtype.itemsize)
    return np.concatenate(arrays, axis=axis)


@operator("Split", moves=True)
def split(node: Node, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    axis = node["axis"]
    given = node.get("split") if sizes is None else [int(one) for one in sizes]
    if not given:
        count = node.get("num_outputs", len(node.outputs))
        each = -(-x.shape[axis] // count)
        given = [max(0, min(each, x.shape[axis] - each * at)) for at in range(count)]
    if sum(given) != x.shape[axis] or min(given, default=0) < 0:
        raise ValueError(f"sizes {list(given)} of an axis of {x.shape[axis]}")
    return tuple(np.split(x, np.cumsum(given)[:-1], axis=axis))


@operator("Slice", moves=True)
def slice_by_attributes(node: Node, x: Array) -> Array:
    return _slice(x, node["starts"], node["ends"], node.get("axes"), None)


@operator("Slice", since=10, moves=True)
def slice_by_inputs(
    node: Node, x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    return _slice(x, starts, ends, axes, steps)


def _slice(x: Array, starts: Any, ends: Any, axes: Any, steps: Any) -> Array:
    places = [slice(None)] * x.ndim
    chosen = range(len(starts)) if axes is None else axes_of(axes, x.ndim)
    strides = [1] * len(starts) if steps is None else [int(one) for one in steps]
    for axis, start, end, step in zip(chosen, starts, ends, strides, strict=True):
        length = x.shape[axis]
        first, last = int(start), int(end)
        first = first + length if first < 0 else first
        last = last + length if last < 0 else last
        if step > 0:
            places[axis] = slice(min(max(first, 0), length), min(max(last, 0), length), step)
        else:  # Slice: starts are clamped to [0, size - 1], unlike numpy's, ends to [-1, size - 1]
            first, last = min(max(first, 0), length - 1), min(max(last, -1), length - 1)
            places[axis] = slice(first, last if last >= 0 else None, step) if length else slice(0, 0)
    return x[tuple(places)]


@operator("Expand", moves=True)
def expand(node: Node, x: Array, wanted: Array) -> Array:
    target = np.broadcast_shapes(x.shape, tuple(int(one) for one in wanted))
    node.limits.room(target, x.dtype.itemsize)
    return np.broadcast_to(x, target)


@operator("Tile", moves=True)
def tile_along_one(node: Node, x: Array, tiles: Array, axis: Array) -> Array:
    """As in opset 1: how often, along which axis."""
    repeats = [1] * x.ndim
    repeats[int(axis)] = int(tiles)
    return tile(node, x, np.array(repeats))


@operator("Tile", since=6, moves=True)
def tile(node: Node, x: Array, repeats: Array) -> Array:
    node.limits.room([one * int(two) for one, two in zip(x.shape, repeats, strict=True)], x.dtype.itemsize)
    return np.tile(x, tuple(int(one) for one in repeats))


@operator("Pad", moves=True)
def pad_by_attributes(node: Node, x: Array) -> Array:
    pads = node.get("pads") or node.get("paddings")
    return _pad(node, x, pads, np.asarray(node.get("value", 0), x.dtype), range(x.ndim))


@operator("Pad", since=11, moves=True)
def pad(node: Node, x: Array, pads: Array, value: Array | None = None, axes: Array | None = None) -> Array:
    fill = value.reshape(-1)[0] if value is not None and value.size else (False if x.dtype == bool else 0)
    return _pad(node, x, pads, fill, range(x.ndim) if axes is None else axes_of(axes, x.ndim))


def _pad(node: Node, x: Array, pads: Any, fill: Any, axes: Any) -> Array:
    numbers = [int(one) for one in pads]
    chosen = list(axes)
    if len(numbers) != 2 * len(chosen):
        raise ValueError(f"{len(numbers)} pads for {len(chosen)} axes")
    widths = [(0, 0)] * x.ndim
    for at, axis in enumerate(chosen):
        widths[axis] = (numbers[at], numbers[at + len(chosen)])
    node.limits.room([max(0, n + a + b) for n, (a, b) in zip(x.shape, widths, strict=True)], x.dtype.itemsize)
    cut = tuple(slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(x.shape, widths, strict=True))
    x, grown = x[cut], [(max(0, a), max(0, b)) for a, b in widths]
    if all(one == (0, 0) for one in grown):
        return x
    mode = node.get("mode", "constant")
    if mode == "constant":
        return np.pad(x, grown, mode="constant", constant_values=fill)
    modes: dict[str, Any] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    return np.asarray(np.pad(x, grown, mode=modes[mode]))


@operator("DepthToSpace", moves=True)
def depth_to_space(node: Node, x: Array) -> Array:
    n, c, h, w = x.shape
    block = node["blocksize"]
    if node.get("mode", "DCR") == "DCR":
        parts = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // block**2, h * block, w * block)


@operator("SpaceToDepth", moves=True)
def space_to_depth(node: Node, x: Array) -> Array:
    n, c, h, w = x.shape
    block = node["blocksize"]
    parts = x.reshape(n, c, h // block, block, w // block, block)
    order = (0, 1, 3, 5, 2, 4) if node.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return parts.transpose(order).reshape(n, c * block**2, h // block, w // block)


@operator("Trilu", moves=True)
def trilu(node: Node, x: Array, k: Array | None = None) -> Array:
    offset = 0 if k is None else int(k.reshape(-1)[0])
    offset = max(-x.shape[-2] - 1, min(x.shape[-1] + 1, offset))
    return np.triu(x, offset) if node["upper"] else np.tril(x, offset)


@operator("ReverseSequence", moves=True)
def reverse_sequence(node: Node, x: Array, lengths: Array) -> Array:
    time, batch = node["time_axis"], node["batch_axis"]
    return reversed_in_time(np.moveaxis(x, (time, batch), (0, 1)), lengths, (time, batch))


def reversed_in_time(x: Array, lengths: Array, back: tuple[int, int] = (0, 1)) -> Array:
    """x of shape (time, batch, ...), the first `lengths[b]` steps of each sequence in reverse."""
    steps = np.arange(x.shape[0])[:, None]
    order = np.where(steps < lengths[None, :], lengths[None, :] - 1 - steps, steps)
    return np.moveaxis(np.take_along_axis(x, order.reshape(order.shape + (1,) * (x.ndim - 2)), 0), (0, 1), back)


@operator("CenterCropPad", moves=True)
def center_crop_pad(node: Node, x: Array, wanted: Array) -> Array:
    axes = range(x.ndim) if node.get("axes") is None else axes_of(node["axes"], x.ndim)
    for axis, size in zip(axes, (int(one) for one in wanted), strict=True):
        have = x.shape[axis]
        if size < have:
            first = (have - size) // 2
            x = x[(slice(None),) * axis + (slice(first, first + size),)]
        elif size > have:
            widths = [(0, 0)] * x.ndim
            widths[axis] = ((size - have) // 2, size - have - (size - have) // 2)
            node.limits.room((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype.itemsize)
            x = np.pad(x, widths)
    return x
