"""Normalisations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def _channels(x: Array, one: Array) -> Array:
    """A vector over the channels, ready to meet x (n, c, ...)."""
    return one.reshape((1, -1) + (1,) * (x.ndim - 2)) if x.ndim > 1 else one


@operator("BatchNormalization")
def batch_normalization(node: Node, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Any:
    training = bool(node.get("training_mode")) or (node.since < 7 and not node.get("is_test"))
    if node.since < 9 and not node.get("spatial", 1):
        raise ValueError("spatial = 0 is not covered")
    if not training:
        return _normalised(node, x, scale, bias, mean, var)
    axes = tuple(one for one in range(x.ndim) if one != 1)
    batch_mean, batch_var = np.mean(x, axis=axes), np.var(x, axis=axes)
    momentum = node["momentum"]
    running_mean = (mean * momentum + batch_mean * (1 - momentum)).astype(mean.dtype)
    running_var = (var * momentum + batch_var * (1 - momentum)).astype(var.dtype)
    out = _normalised(node, x, scale, bias, batch_mean, batch_var)
    return (out, running_mean, running_var) if len(node.outputs) > 1 else out


def _normalised(node: Node, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Array:
    factor = scale / np.sqrt(var + var.dtype.type(node["epsilon"]))
    return np.asarray((x - _channels(x, mean)) * _channels(x, factor) + _channels(x, bias)).astype(x.dtype, copy=False)


@operator("InstanceNormalization")
def instance_normalization(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    axes = tuple(range(2, x.ndim))
    centred = x - np.mean(x, axis=axes, keepdims=True)
    var = np.mean(centred * centred, axis=axes, keepdims=True)
    out = centred / np.sqrt(var + x.dtype.type(node["epsilon"]))
    return np.asarray(out * _channels(x, scale) + _channels(x, bias)).astype(x.dtype, copy=False)


@operator("GroupNormalization")
def group_normalization(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    groups = node["num_groups"]
    parts = x.reshape(x.shape[0], groups, -1)
    centred = parts - np.mean(parts, axis=-1, keepdims=True)
    var = np.mean(centred * centred, axis=-1, keepdims=True)
    out = (centred / np.sqrt(var + x.dtype.type(node["epsilon"]))).reshape(x.shape)
    if node.since < 21:  # one scale for each group
        scale, bias = (np.repeat(one, x.shape[1] // groups) for one in (scale, bias))
    return np.asarray(out * _channels(x, scale) + _channels(x, bias)).astype(x.dtype, copy=False)


@operator("LayerNormalization")
def layer_normalization(node: Node, x: Array, scale: Array, bias: Array | None = None) -> Any:
    axes = tuple(range(node["axis"] % x.ndim, x.ndim))
    mean = np.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    var = np.mean(centred * centred, axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(var + x.dtype.type(node["epsilon"]))
    out = centred * inverse * scale
    out = (out if bias is None else out + bias).astype(x.dtype, copy=False)
    return (out, mean, inverse) if len(node.outputs) > 1 else out


@operator("RMSNormalization")
def rms_normalization(node: Node, x: Array, scale: Array) -> Array:
    axes = tuple(range(node["axis"] % x.ndim, x.ndim))
    square = np.mean(x * x, axis=axes, keepdims=True)
    return np.asarray(x / np.sqrt(square + x.dtype.type(node["epsilon"])) * scale).astype(scale.dtype, copy=False)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, x: Array) -> Array:
    axes = tuple(node.get("axes") or (0, 2, 3))
    centred = x - np.mean(x, axis=axes, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True))
    return np.asarray(centred / (deviation + x.dtype.type(1e-9))).astype(x.dtype, copy=False)


@operator("LpNormalization")
def lp_normalization(node: Node, x: Array) -> Array:
    axis = node["axis"]
    norm = (
        np.sum(np.abs(x), axis=axis, keepdims=True)
        if node["p"] == 1
        else np.sqrt(np.sum(x * x, axis=axis, keepdims=True))
    )
    return np.asarray(np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm))).astype(x.dtype, copy=False)


@operator("LRN")
def local_response_normalization(node: Node, x: Array) -> Array:
    size = node["size"]
    widths = [(0, 0)] * x.ndim
    widths[1] = ((size - 1) // 2, size - 1 - (size - 1) // 2)
    squares = sliding_window_view(np.pad(x * x, widths), size, axis=1).sum(axis=-1)
    return np.asarray(x / (node["bias"] + node["alpha"] / size * squares) ** node["beta"]).astype(x.dtype, copy=False)


@operator("NegativeLogLikelihoodLoss")
def nll_loss(node: Node, x: Array, target: Array, weight: Array | None = None) -> Array:
    return _loss(node, x, target, weight)


@operator("SoftmaxCrossEntropyLoss")
def cross_entropy(node: Node, x: Array, target: Array, weight: Array | None = None) -> Any:
    from reversible.evaluator.operators.special import log_softmax

    logarithms = log_softmax(x, 1)
    out = _loss(node, logarithms, target, weight)
    return (out, logarithms) if node.wants(1) else out


def _loss(node: Node, x: Array, target: Array, weight: Array | None) -> Array:
    ignored = node.get("ignore_index")
    kept = np.ones(target.shape, bool) if ignored is None else target != ignored
    classes = np.where(kept, target, 0)
    if classes.size and (classes.min() < 0 or classes.max() >= x.shape[1]):
        raise IndexError(f"a class outside 0 to {x.shape[1] - 1}")
    loss = -np.take_along_axis(x, np.expand_dims(classes, 1).astype(np.int64), 1).squeeze(1)
    share = (np.ones(target.shape, x.dtype) if weight is None else weight[classes]) * kept
    loss = (loss * share).astype(x.dtype)
    if node["reduction"] == "none":
        return loss
    if node["reduction"] == "sum":
        return np.asarray(loss.sum())
    total = share.sum() if weight is not None or ignored is not None else math.prod(target.shape)
    return np.asarray(loss.sum() / total).astype(x.dtype)
