"""Operators that pick elements by index, or put them there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def counted(indices: Array, size: int) -> Array:
    """Indices counted from the front; raises IndexError for one outside."""
    indices = indices.astype(np.int64, copy=False)
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise IndexError(f"indices from {indices.min()} to {indices.max()} in an axis of {size}")
    return np.where(indices < 0, indices + size, indices)


@operator("Gather", moves=True)
def gather(node: Node, x: Array, indices: Array) -> Array:
    axis = node["axis"] % x.ndim
    node.limits.room((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype.itemsize)
    return np.take(x, counted(indices, x.shape[axis]), axis=axis)


@operator("GatherElements", moves=True)
def gather_elements(node: Node, x: Array, indices: Array) -> Array:
    axis = node["axis"] % x.ndim
    return x[_places(indices, x.shape, axis)]


def _places(indices: Array, shape: tuple[int, ...], axis: int) -> tuple[Array, ...]:
    """For each element of `indices`, its place with the index in the axis."""
    grid: list[Any] = list(np.ogrid[tuple(slice(0, one) for one in indices.shape)])
    grid[axis] = counted(indices, shape[axis])
    return tuple(grid)


@operator("GatherND", moves=True)
def gather_nd(node: Node, x: Array, indices: Array) -> Array:
    batch = node.get("batch_dims", 0)
    return x[_nd_places(indices, x.shape, batch)]


def _nd_places(indices: Array, shape: tuple[int, ...], batch: int = 0) -> tuple[Array, ...]:
    depth = indices.shape[-1]
    if depth > len(shape) - batch:
        raise IndexError(f"{depth} indices into {len(shape) - batch} axes")
    found: list[Array] = []
    for at in range(batch):
        over = indices.ndim - 1 - at - 1
        found.append(np.arange(indices.shape[at]).reshape((-1,) + (1,) * over))
    found.extend(counted(indices[..., at], shape[batch + at]) for at in range(depth))
    return tuple(found)


_MERGES: dict[str, Callable[..., Any]] = {
    "add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at,
}  # fmt: skip


def _put(out: Array, places: tuple[Array, ...], updates: Array, merge: str) -> Array:
    if merge == "none":
        out[places] = updates
    else:
        _MERGES[merge](out, places, updates)
    return out


@operator("ScatterElements", "Scatter", moves=True)
def scatter_elements(node: Node, x: Array, indices: Array, updates: Array) -> Array:
    axis = node.get("axis", 0) % x.ndim
    return _put(x.copy(), _places(indices, x.shape, axis), updates, node.get("reduction", "none"))


@operator("ScatterND", moves=True)
def scatter_nd(node: Node, x: Array, indices: Array, updates: Array) -> Array:
    return _put(x.copy(), _nd_places(indices, x.shape), updates, node.get("reduction", "none"))


@operator("TensorScatter", moves=True)
def tensor_scatter(node: Node, cache: Array, update: Array, starts: Array | None = None) -> Array:
    axis = node["axis"] % cache.ndim
    longest, length = cache.shape[axis], update.shape[axis]
    first = np.zeros(cache.shape[0], np.int64) if starts is None else starts
    places = first[:, None] + np.arange(length)
    places = places % longest if node["mode"] == "circular" else counted(places, longest)
    out = cache.copy()
    for batch in range(cache.shape[0]):
        np.moveaxis(out[batch], axis - 1, 0)[places[batch]] = np.moveaxis(update[batch], axis - 1, 0)
    return out


@operator("Compress", moves=True)
def compress(node: Node, x: Array, condition: Array) -> Array:
    return np.compress(condition, x, axis=node.get("axis"))


@operator("OneHot", moves=True)
def one_hot(node: Node, indices: Array, depth: Array, values: Array) -> Array:
    size = int(np.asarray(depth).reshape(-1)[0])
    indices = np.asarray(indices).astype(np.int64)
    axis = node["axis"] % (indices.ndim + 1)
    shape = (*indices.shape[:axis], size, *indices.shape[axis:])
    node.limits.room(shape, values.dtype.itemsize)
    wanted = np.expand_dims(np.where(indices < 0, indices + size, indices), axis)
    rungs = np.arange(size).reshape((-1,) + (1,) * (indices.ndim - axis))
    return np.where(wanted == rungs, values[1], values[0])
