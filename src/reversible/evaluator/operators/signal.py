"""Fourier transforms and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from reversible.evaluator.node import Node
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


@operator("DFT")
def dft_by_attribute(node: Node, x: Array, length: Array | None = None) -> Array:
    return _dft(node, x, length, node.get("axis", 1))


@operator("DFT", since=20)
def dft(node: Node, x: Array, length: Array | None = None, axis: Array | None = None) -> Array:
    return _dft(node, x, length, -2 if axis is None else int(axis))


def _complex(x: Array) -> Array:
    return x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]


def _parts(x: Array, kind: Any) -> Array:
    return np.stack([x.real, x.imag], axis=-1).astype(kind)


def _dft(node: Node, x: Array, length: Array | None, axis: int) -> Array:
    at = axis % x.ndim
    size = x.shape[at] if length is None else int(np.asarray(length).reshape(-1)[0])
    values = _complex(x)
    one_sided, inverse = bool(node.get("onesided")), bool(node.get("inverse"))
    bins = 2 * (size - 1) if one_sided and inverse and length is None else size
    node.limits.room((*x.shape[:at], bins, *x.shape[at + 1 :]), 16)
    if one_sided and inverse:  # from the half that a real signal needs, to the real signal
        return np.fft.irfft(values, bins, axis=at)[..., None].astype(x.dtype)
    out = np.fft.ifft(values, size, axis=at) if inverse else np.fft.fft(values, size, axis=at)
    if one_sided:
        out = np.take(out, np.arange(size // 2 + 1), axis=at)
    return _parts(out, x.dtype)


@operator("STFT")
def stft(node: Node, x: Array, step: Array, window: Array | None = None, length: Array | None = None) -> Array:
    hop = int(step)
    size = int(length) if length is not None else window.shape[0] if window is not None else x.shape[1]
    if hop < 1 or not 1 <= size <= x.shape[1]:
        raise ValueError(f"frames of {size}, {hop} apart, in a signal of {x.shape[1]}")
    frames = 1 + (x.shape[1] - size) // hop
    node.limits.room((x.shape[0], frames, size), 16)
    signal = _complex(x) if x.ndim == 3 else x
    places = np.arange(frames)[:, None] * hop + np.arange(size)
    cut = signal[:, places]
    if window is not None:
        shape = np.zeros(size, window.dtype)
        first = (size - window.shape[0]) // 2
        shape[first : first + window.shape[0]] = window
        cut = cut * shape
    out = np.fft.fft(cut, axis=-1)
    if node["onesided"]:
        out = out[..., : size // 2 + 1]
    return _parts(out, x.dtype)


_COSINES = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}


@operator("HannWindow", "HammingWindow", "BlackmanWindow", typed=True)
def cosine_window(node: Node, size: Array) -> Array:
    count = int(size)
    node.limits.room((count,))
    a, b, c = _COSINES[node.op_type]
    turns = 2 * np.pi * np.arange(count) / (count if node["periodic"] else max(1, count - 1))
    return np.asarray(a - b * np.cos(turns) + c * np.cos(2 * turns)).astype(
        node.precision.carried(node["output_datatype"])
    )


@operator("MelWeightMatrix", typed=True)
def mel_weight_matrix(node: Node, bands: Array, length: Array, rate: Array, low: Array, high: Array) -> Array:
    count, bins = int(bands), int(length) // 2 + 1
    node.limits.room((bins, count))
    edges = 2595 * np.log10(1 + np.array([float(low), float(high)]) / 700)
    # The published data, and onnxruntime, divide the range by bands + 2, not + 1: the last band ends below its edge.
    mels = edges[0] + np.arange(count + 2) * (edges[1] - edges[0]) / (count + 2)
    centres = 700 * (10 ** (mels / 2595) - 1)
    places = np.floor((int(length) + 1) * centres / int(rate)).astype(np.int64)
    out = np.zeros((bins, count))
    for band in range(count):
        first, middle, last = places[band : band + 3]
        if middle == first:
            out[middle, band] = 1
        else:
            rising = np.arange(first, middle + 1)
            out[rising, band] = (rising - first) / (middle - first)
        if last != middle:
            falling = np.arange(middle, last)
            out[falling, band] = (last - falling) / (last - middle)
    return out.astype(node.precision.carried(node.get("output_datatype", TensorProto.FLOAT)))
