"""Sampling, regions and boxes."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.resize import _cubic
from reversible.evaluator.operators.windows import windows
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def sampled(
    x: Array, at: Array, *, outside: str, corners: bool = False, nearest: bool = False, cubic: bool = False
) -> Array:
    """x (c, *spatial) at places (*spatial rank last): (c, *places), in place units, by products of one-axis weights."""
    spatial = x.shape[1:]
    taps: list[list[tuple[Array, Array]]] = []
    for axis, size in enumerate(spatial):
        place = at[..., axis]
        if nearest:
            choices = [(np.rint(place), np.ones(place.shape))]
        else:
            first = np.floor(place)
            reach = (-1, 0, 1, 2) if cubic else (0, 1)
            distances = [np.abs(first + one - place) for one in reach]
            choices = [
                (first + one, _cubic(d, -0.75) if cubic else 1 - d) for one, d in zip(reach, distances, strict=True)
            ]
        taps.append([_inside(found, weight, size, outside, corners) for found, weight in choices])
    out = np.zeros((x.shape[0], *at.shape[:-1]), x.dtype)
    for chosen in product(*taps):
        weight = math.prod((one for _, one in chosen), start=np.ones(at.shape[:-1]))
        index: Any = (slice(None), *(one for one, _ in chosen))
        out += x[index] * weight.astype(x.dtype)
    return out


def _inside(place: Array, weight: Array, size: int, outside: str, corners: bool) -> tuple[Array, Array]:
    place = np.where(np.isfinite(place), place, -2.0)
    if outside == "zeros":
        weight = np.where((place >= 0) & (place < size), weight, 0)
    elif outside == "reflection":
        place = _reflected(place, 0.0 if corners else -0.5, size - 1 if corners else size - 0.5)
    return np.clip(place, 0, size - 1).astype(np.int64), weight


def _reflected(place: Array, low: float, high: float) -> Array:
    span = high - low
    if span <= 0:
        return np.zeros_like(place)
    over = np.mod(place - low, 2 * span)
    return np.asarray(np.where(over > span, 2 * span - over, over) + low)


@operator("GridSample")
def grid_sample(node: Node, x: Array, grid: Array) -> Array:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(node["mode"], node["mode"])
    corners, outside = bool(node["align_corners"]), node["padding_mode"]
    sizes = np.array(x.shape[2:], np.float64)
    places = grid[..., ::-1].astype(np.float64)  # x comes first in the grid, last in the tensor
    places = (places + 1) / 2 * (sizes - 1) if corners else ((places + 1) * sizes - 1) / 2
    if outside == "border":
        places = np.clip(places, 0, sizes - 1) if mode != "cubic" else places
    elif outside == "reflection" and mode != "cubic":
        ends = [(0.0, size - 1) if corners else (-0.5, size - 0.5) for size in sizes]
        places = np.stack([_reflected(places[..., at], *one) for at, one in enumerate(ends)], axis=-1)
        if mode == "linear":
            places = np.clip(places, 0, sizes - 1)
    node.limits.room((*x.shape[:2], *grid.shape[1:-1]))
    return np.stack([
        sampled(x[at], places[at], outside=outside, corners=corners, nearest=mode == "nearest", cubic=mode == "cubic")
        for at in range(x.shape[0])
    ])  # fmt: skip


@operator("AffineGrid")
def affine_grid(node: Node, theta: Array, size: Array) -> Array:
    spatial = [int(one) for one in size[2:]]
    node.limits.room((int(size[0]), *spatial, len(spatial)))
    lines = []
    for one in spatial:
        steps = np.arange(one, dtype=theta.dtype)
        lines.append(-1 + 2 * steps / max(1, one - 1) if node["align_corners"] else (2 * steps + 1) / one - 1)
    mesh = np.meshgrid(*lines, indexing="ij")
    points = np.stack([*mesh[::-1], np.ones_like(mesh[0])], axis=-1)
    return np.einsum("...j,nij->n...i", points, theta).astype(theta.dtype)


@operator("RoiAlign")
def roi_align(node: Node, x: Array, rois: Array, batches: Array) -> Array:
    height, width = node["output_height"], node["output_width"]
    half = node.get("coordinate_transformation_mode", "output_half_pixel") == "half_pixel"
    node.limits.room((rois.shape[0], x.shape[1], height, width))
    out = np.zeros((rois.shape[0], x.shape[1], height, width), x.dtype)
    for number, (roi, batch) in enumerate(zip(rois.astype(np.float64), batches, strict=True)):
        x1, y1, x2, y2 = roi * node["spatial_scale"] - (0.5 if half else 0.0)
        tall, wide = (y2 - y1, x2 - x1) if half else (max(y2 - y1, 1.0), max(x2 - x1, 1.0))
        bins = tall / height, wide / width
        counts = [node["sampling_ratio"] or math.ceil(one) for one in bins]
        rows = y1 + (np.arange(height * counts[0]) + 0.5) * bins[0] / counts[0]
        columns = x1 + (np.arange(width * counts[1]) + 0.5) * bins[1] / counts[1]
        node.limits.room((x.shape[1], rows.size, columns.size))
        places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
        sizes = np.array(x.shape[2:])
        gone = np.any((places < -1) | (places > sizes), axis=-1)
        taken = _corners(x[int(batch)], np.clip(places, 0, sizes - 1), maximum=node["mode"] == "max")
        taken = np.where(np.asarray(gone)[None, :, :, None], 0, taken)
        parts = taken.reshape(x.shape[1], height, counts[0], width, counts[1], -1)
        out[number] = parts.max(axis=(2, 4, 5)) if node["mode"] == "max" else parts.sum(axis=-1).mean(axis=(2, 4))
    return out


def _corners(x: Array, places: Array, *, maximum: bool) -> Array:
    """The four weighted neighbours of each place, (c, rows, columns, 4)."""
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, np.array(x.shape[1:]) - 1)
    share = places - low
    found = []
    for one, two in product((0, 1), repeat=2):
        row, column = (high if one else low)[..., 0], (high if two else low)[..., 1]
        weight = (share if one else 1 - share)[..., 0] * (share if two else 1 - share)[..., 1]
        found.append(x[:, row, column] * weight)
    return np.stack(found, axis=-1)


@operator("MaxRoiPool")
def max_roi_pool(node: Node, x: Array, rois: Array) -> Array:
    height, width = node["pooled_shape"]
    node.limits.room((rois.shape[0], x.shape[1], height, width))
    out = np.zeros((rois.shape[0], x.shape[1], height, width), x.dtype)
    for number, roi in enumerate(rois):
        x1, y1, x2, y2 = (math.floor(float(one) * node["spatial_scale"] + 0.5) for one in roi[1:])
        tall, wide = max(y2 - y1 + 1, 1) / height, max(x2 - x1 + 1, 1) / width
        for row, column in product(range(height), range(width)):
            top, bottom = (
                min(max(one + y1, 0), x.shape[2]) for one in (math.floor(row * tall), math.ceil((row + 1) * tall))
            )
            left, right = (
                min(max(one + x1, 0), x.shape[3]) for one in (math.floor(column * wide), math.ceil((column + 1) * wide))
            )
            part = x[int(roi[0]), :, top:bottom, left:right]
            out[number, :, row, column] = part.max(axis=(1, 2)) if part.size else 0
    return out


@operator("NonMaxSuppression", moves=True)
def non_max_suppression(
    node: Node,
    boxes: Array,
    scores: Array,
    most: Array | None = None,
    overlap: Array | None = None,
    least: Array | None = None,
) -> Array:
    limit = 0 if most is None else int(most.reshape(-1)[0])
    threshold = 0.0 if overlap is None else float(overlap.reshape(-1)[0])
    lowest = -np.inf if least is None else float(least.reshape(-1)[0])
    if node.get("center_point_box"):
        cx, cy, w, h = np.moveaxis(boxes.astype(np.float64), -1, 0)
        corners = np.stack([cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2], axis=-1)
    else:
        y1, x1, y2, x2 = np.moveaxis(boxes.astype(np.float64), -1, 0)
        corners = np.stack([np.minimum(y1, y2), np.minimum(x1, x2), np.maximum(y1, y2), np.maximum(x1, x2)], axis=-1)
    found: list[tuple[int, int, int]] = []
    for batch, kind in product(range(scores.shape[0]), range(scores.shape[1])):
        own = scores[batch, kind]
        order = [int(one) for one in np.argsort(-own, kind="stable") if least is None or own[one] > lowest]
        kept: list[int] = []
        while order and len(kept) < limit:
            one = order.pop(0)
            kept.append(one)
            left = np.array(order, np.int64)
            order = left[_overlaps(corners[batch, one], corners[batch, left]) <= threshold].tolist()
        found.extend((batch, kind, one) for one in kept)
    return np.array(found, np.int64).reshape(-1, 3)


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    union = areas - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0))


@operator("DeformConv")
def deform_conv(
    node: Node, x: Array, w: Array, offset: Array, b: Array | None = None, mask: Array | None = None
) -> Array:
    groups, offset_groups = node["group"], node["offset_group"]
    view = windows(node, x.shape[2:], w.shape[2:])
    rank, n, m = len(view.kernel), x.shape[0], w.shape[0]
    kernel_size = math.prod(view.kernel)
    node.limits.room((n, x.shape[1], kernel_size, *view.counts))
    moves = offset.reshape(n, offset_groups, kernel_size, rank, *view.counts)
    masks: Any = None if mask is None else mask.reshape(n, offset_groups, kernel_size, *view.counts)
    axes = zip(view.counts, view.strides, view.before, strict=True)
    lines = (np.arange(count) * stride - before for count, stride, before in axes)
    base = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    each = x.shape[1] // offset_groups
    columns = np.zeros((n, x.shape[1], kernel_size, *view.counts), x.dtype)
    for at, place in enumerate(product(*(range(one) for one in view.kernel))):
        shift = np.array(place) * np.array(view.dilations)
        for sample, group in product(range(n), range(offset_groups)):
            places = base + shift + np.moveaxis(moves[sample, group, at], 0, -1)
            rows = slice(group * each, (group + 1) * each)
            taken = sampled(x[sample, rows], places, outside="zeros")
            columns[sample, rows, at] = taken if masks is None else taken * masks[sample, group, at]
    inner = columns.reshape(n, groups, -1, math.prod(view.counts))
    out = np.matmul(w.reshape(groups, m // groups, -1), inner).reshape(n, m, *view.counts)
    return out if b is None else out + b.reshape((1, -1) + (1,) * rank)
