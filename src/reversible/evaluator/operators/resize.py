"""Resize and Upsample: one axis after the other, as sums of few taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.shape import axes_of
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


@dataclass(frozen=True)
class Axis:
    """How one axis is resized."""

    size: int
    new: int
    scale: float  # as the model says it; new / size where it gives sizes
    start: float = 0.0  # the region of interest, of tf_crop_and_resize, as shares of the axis
    end: float = 1.0

    def coordinates(self, transform: str, kind: type[np.floating[Any]]) -> Array:
        """Where each new place lies in the old axis, computed in the float type `kind`."""
        at = np.arange(self.new).astype(kind)
        scale, half, size = kind(self.scale), kind(0.5), kind(self.size)
        if transform == "half_pixel":
            return np.asarray((at + half) / scale - half)
        if transform == "half_pixel_symmetric":
            adjustment = kind(self.new) / (scale * size)
            return np.asarray(size / 2 * (1 - adjustment) + (at + half) / scale - half)
        if transform == "pytorch_half_pixel":
            return np.asarray((at + half) / scale - half) if self.new > 1 else np.zeros(1, kind)
        if transform == "align_corners":
            return np.asarray(at * (size - 1) / kind(self.new - 1)) if self.new > 1 else np.zeros(self.new, kind)
        if transform == "asymmetric":
            return np.asarray(at / scale)
        if transform == "tf_half_pixel_for_nn":
            return np.asarray((at + half) / scale)
        if transform == "tf_crop_and_resize":
            start, end = kind(self.start), kind(self.end)
            if self.new > 1:
                return np.asarray(start * (size - 1) + at * ((end - start) * (size - 1) / kind(self.new - 1)))
            return np.full(1, half * (start + end) * (size - 1))
        raise ValueError(f"there is no coordinate_transformation_mode {transform}")


@operator("Resize")
def resize_10(node: Node, x: Array, scales: Array) -> Array:
    return _resized(node, x, range(x.ndim), None, scales, None, legacy=True)


@operator("Upsample")
def upsample(node: Node, x: Array, scales: Array | None = None) -> Array:
    if scales is None:
        given = node.get("scales")
        if given is None:  # opset 1 speaks of images alone
            given = (1.0, 1.0, node["height_scale"], node["width_scale"])
        scales = np.array(given, np.float64)
    return _resized(node, x, range(x.ndim), None, scales, None, legacy=True)


@operator("Resize", since=11)
def resize(
    node: Node, x: Array, roi: Array | None = None, scales: Array | None = None, sizes: Array | None = None
) -> Array:
    axes = range(x.ndim) if node.get("axes") is None else axes_of(node["axes"], x.ndim)
    region = None if roi is None or roi.size == 0 else roi
    return _resized(node, x, axes, region, scales, sizes, legacy=False)


def _resized(
    node: Node,
    x: Array,
    axes: Sequence[int],
    roi: Array | None,
    scales: Array | None,
    sizes: Array | None,
    *,
    legacy: bool,
) -> Array:
    plan = _plan(node, x, axes, roi, scales, sizes)
    mode = node["mode"]
    transform = "asymmetric" if legacy else node["coordinate_transformation_mode"]
    new_shape = list(x.shape)
    for axis, one in plan.items():
        new_shape[axis] = one.new
    node.limits.room(new_shape)
    out = x
    outside: Array = np.zeros((1,) * x.ndim, bool)
    for axis, one in plan.items():
        if one.new == one.size and one.scale == 1 and transform != "tf_crop_and_resize":
            continue
        # The nearest place jumps where two are equally near: 6.5f / 1.3f is 5, in float64 it is not. So it is found in
        # float32, in which the scales are given and every engine computes; weights are continuous, and float64.
        at = one.coordinates(transform, np.float32 if mode == "nearest" else np.float64)
        if transform == "tf_crop_and_resize":
            beyond = (at < 0) | (at > one.size - 1)
            outside = outside | beyond.reshape((-1,) + (1,) * (x.ndim - 1 - axis))
        places, weights = _taps(node, mode, at, one, "floor" if legacy else node["nearest_mode"])
        out = _combine(out, axis, places, weights)
    if outside.any():
        out = np.where(outside, np.asarray(node["extrapolation_value"], out.dtype), out)
    return _to_type(out, x.dtype)


def _to_type(out: Array, dtype: Any) -> Array:
    if dtype.kind in "iu" and out.dtype.kind == "f":
        ends = np.iinfo(dtype)
        return np.clip(np.rint(out), ends.min, ends.max).astype(dtype)
    return out.astype(dtype, copy=False)


def _plan(
    node: Node, x: Array, axes: Sequence[int], roi: Array | None, scales: Array | None, sizes: Array | None
) -> dict[int, Axis]:
    chosen = list(axes)
    starts = [0.0] * len(chosen) if roi is None else [float(one) for one in roi[: len(chosen)]]
    ends = [1.0] * len(chosen) if roi is None else [float(one) for one in roi[len(chosen) :]]
    if scales is not None and scales.size:
        if scales.size != len(chosen):
            raise ValueError(f"{scales.size} scales for {len(chosen)} axes")
        # A model's scales are float32, and so is the product that is cut to a size: 0.7f * 10 is 7 there.
        news = [
            int(np.floor(np.float32(x.shape[axis]) * np.float32(one))) for axis, one in zip(chosen, scales, strict=True)
        ]
        factors = [float(one) for one in scales]
    elif sizes is not None and sizes.size:
        news, factors = _kept_aspect(
            node.get("keep_aspect_ratio_policy", "stretch"), [x.shape[one] for one in chosen], sizes
        )
    else:
        raise ValueError("neither scales nor sizes are given")
    if any(not np.isfinite(one) or one <= 0 for one in factors) and x.size:
        raise ValueError(f"scales {factors} are not above 0")
    return {
        axis: Axis(x.shape[axis], new, factor, start, end)
        for axis, new, factor, start, end in zip(chosen, news, factors, starts, ends, strict=True)
    }


def _kept_aspect(policy: str, have: list[int], sizes: Array) -> tuple[list[int], list[float]]:
    wanted = [int(one) for one in sizes]
    if policy == "stretch":
        return wanted, [one / two if two else 1.0 for one, two in zip(wanted, have, strict=True)]
    choose = min if policy == "not_larger" else max
    scale = choose(one / two for one, two in zip(wanted, have, strict=True))
    return [int(np.floor(scale * one + 0.5)) for one in have], [scale] * len(have)


def _combine(x: Array, axis: int, places: Array, weights: Array | None) -> Array:
    """Sum over the taps of x at `places` (new, taps) along the axis, times `weights`."""
    if weights is None:
        return np.take(x, places[:, 0], axis=axis)
    shape = (-1,) + (1,) * (x.ndim - 1 - axis)
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    out: Array | None = None
    for tap in range(places.shape[1]):
        part = np.take(x, places[:, tap], axis=axis) * weights[:, tap].astype(x.dtype).reshape(shape)
        out = part if out is None else out + part
    assert out is not None  # noqa: S101 - there is at least one tap
    return out


def _taps(node: Node, mode: str, at: Array, axis: Axis, nearest: str) -> tuple[Array, Array | None]:
    if mode == "nearest":
        return _nearest(at, nearest, axis.size)[:, None], None
    if mode not in ("linear", "bilinear", "cubic"):
        raise ValueError(f"there is no mode {mode}")
    cubic = mode == "cubic"
    stretch = 1 / axis.scale if node.get("antialias") and axis.scale < 1 else 1.0
    reach = (2 if cubic else 1) * stretch
    count = int(2 * np.ceil(reach))
    node.limits.room((axis.new, count))
    first = np.floor(at).astype(np.int64) - count // 2 + 1
    places = first[:, None] + np.arange(count)
    distance = np.abs(places - at[:, None]) / stretch
    weights = _cubic(distance, node.get("cubic_coeff_a", -0.75)) if cubic else np.maximum(0, 1 - distance)
    if node.get("exclude_outside") or stretch != 1:
        inside = (places >= 0) & (places < axis.size)
        weights = np.where(inside, weights, 0) if node.get("exclude_outside") else weights
    total = weights.sum(axis=1, keepdims=True)
    if node.get("exclude_outside") or stretch != 1:
        weights = weights / np.where(total == 0, 1, total)
    return np.clip(places, 0, max(axis.size - 1, 0)), weights


def _cubic(distance: Array, a: float) -> Array:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.asarray(np.where(distance <= 1, near, np.where(distance < 2, far, 0)))


def _nearest(at: Array, mode: str, size: int) -> Array:
    if mode == "round_prefer_floor":
        found = np.ceil(at - at.dtype.type(0.5))
    elif mode == "round_prefer_ceil":
        found = np.floor(at + at.dtype.type(0.5))
    elif mode == "ceil":
        found = np.ceil(at)
    else:
        found = np.floor(at)
    return np.clip(found, 0, max(size - 1, 0)).astype(np.int64)
