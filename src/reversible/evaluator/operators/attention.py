"""Attention, and what stands around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.special import softmax
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def _heads(x: Array, heads: int | None) -> Array:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    if x.ndim == 4:
        return x
    if not heads:
        raise ValueError("three dimensions, and the number of heads is not said")
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(0, 2, 1, 3)


def _repeated(x: Array, heads: int) -> Array:
    """Each key and value head, as often as query heads share it."""
    if heads % x.shape[1]:
        raise ValueError(f"{heads} query heads over {x.shape[1]} key heads")
    return x if heads == x.shape[1] else np.repeat(x, heads // x.shape[1], axis=1)


@operator("Attention")
def attention(
    node: Node, q: Array, k: Array, v: Array, mask: Array | None = None,
    past_k: Array | None = None, past_v: Array | None = None, filled: Array | None = None,
) -> Any:  # fmt: skip
    flat = q.ndim == 3
    q, k, v = (
        _heads(q, node.get("q_num_heads")),
        _heads(k, node.get("kv_num_heads")),
        _heads(v, node.get("kv_num_heads")),
    )
    offset: Any = 0
    if past_k is not None and past_v is not None:
        offset = past_k.shape[2]
        k, v = np.concatenate([past_k, k], axis=2), np.concatenate([past_v, v], axis=2)
    elif filled is not None:
        offset = (filled - q.shape[2]).reshape(-1, 1, 1, 1)
    present = (k, v)
    scale = node.get("scale") or 1 / np.sqrt(q.shape[-1])
    root = q.dtype.type(np.sqrt(scale))
    node.limits.room((*q.shape[:3], k.shape[2]), q.dtype.itemsize)
    scores = np.matmul(q * root, np.swapaxes(_repeated(k, q.shape[1]) * root, -1, -2))
    seen = [scores]
    if node["softcap"]:
        scores = np.asarray(node["softcap"] * np.tanh(scores / node["softcap"])).astype(scores.dtype)
    seen.append(scores)
    bias = _bias(node, q.shape[2], k.shape[2], offset, mask, filled, scores.dtype)
    if bias is not None:
        scores = scores + bias
    seen.append(scores)
    weights = _guarded_softmax(scores)
    seen.append(weights)
    out = np.matmul(weights, _repeated(v, q.shape[1])).astype(q.dtype)
    if flat:
        out = out.transpose(0, 2, 1, 3).reshape(out.shape[0], out.shape[2], -1)
    return (out, *present, seen[node["qk_matmul_output_mode"]])[: max(1, len(node.outputs))]


def _guarded_softmax(scores: Array) -> Array:
    """A row that may attend to nothing gives zeros."""
    nothing = np.all(np.isneginf(scores), axis=-1, keepdims=True)
    return np.where(nothing, 0, softmax(np.where(nothing, 0, scores)))


def _bias(
    node: Node, queries: int, keys: int, offset: Any, mask: Array | None, filled: Array | None, dtype: Any
) -> Array | None:
    """What is added to the scores: -inf where a query may not look."""
    allowed: Array | None = None

    def also(one: Array) -> None:
        nonlocal allowed
        allowed = one if allowed is None else allowed & one

    at = np.arange(queries)[:, None] + offset
    key = np.arange(keys)[None, :]
    if node["is_causal"]:
        also(np.asarray(key <= at))
    if node.get("left_window_size", -1) >= 0:
        also(np.asarray(key >= at - node["left_window_size"]))
    if node.get("right_window_size", -1) >= 0:
        also(np.asarray(key <= at + node["right_window_size"]))
    if filled is not None:
        also(np.arange(keys) < filled.reshape(-1, 1, 1, 1))
    added: Array | None = None
    if mask is not None:
        if mask.shape[-1] < keys:
            missing = [(0, 0)] * (mask.ndim - 1) + [(0, keys - mask.shape[-1])]
            mask = np.pad(mask, missing, constant_values=False if mask.dtype == bool else -np.inf)
        if mask.dtype == bool:
            also(mask)
        else:
            added = mask
    if allowed is not None:
        hidden = np.where(allowed, dtype.type(0), dtype.type(-np.inf))
        added = hidden if added is None else added + hidden
    return added


@operator("FlexAttention", domain="ai.onnx.preview", control=True)
def flex_attention(node: Node, run: Callable[..., list[Any]], q: Array, k: Array, v: Array) -> Array:
    scale = node.get("scale") or 1 / np.sqrt(q.shape[-1])
    kind = q.dtype
    wide = np.float64 if node.precision.wide or kind == np.float64 else np.float32
    q, k, v = (one.astype(wide) for one in (q, k, v))
    scores = np.matmul(q, np.swapaxes(_repeated(k, q.shape[1]), -1, -2)) * wide(scale)
    if "score_mod" in node.subgraphs:
        scores = run("score_mod", scores)[0]
    weights = softmax(scores)
    if "prob_mod" in node.subgraphs:
        weights = run("prob_mod", weights)[0]
    return np.matmul(weights, _repeated(v, q.shape[1])).astype(kind)


@operator("RotaryEmbedding")
def rotary_embedding(node: Node, x: Array, cos: Array, sin: Array, positions: Array | None = None) -> Array:
    four = x.ndim == 4
    parts = x if four else _heads(x, node.get("num_heads"))  # (batch, heads, length, size)
    turned = node.get("rotary_embedding_dim") or parts.shape[-1]
    if positions is not None:
        cos, sin = cos[positions], sin[positions]  # (batch, length, turned / 2)
    cos, sin = (one[:, None, :, : turned // 2] for one in (cos, sin))
    head, rest = parts[..., :turned], parts[..., turned:]
    if node.get("interleaved"):
        one, two = head[..., 0::2], head[..., 1::2]
        out = np.stack([one * cos - two * sin, one * sin + two * cos], axis=-1).reshape(head.shape)
    else:
        one, two = head[..., : turned // 2], head[..., turned // 2 :]
        out = np.concatenate([one * cos - two * sin, one * sin + two * cos], axis=-1)
    out = np.concatenate([out, rest], axis=-1).astype(x.dtype, copy=False)
    return out if four else out.transpose(0, 2, 1, 3).reshape(x.shape)


@operator("LinearAttention")
def linear_attention(
    node: Node,
    q: Array,
    k: Array,
    v: Array,
    past: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
) -> tuple[Array, Array]:
    heads, shared = node["q_num_heads"], node["kv_num_heads"]
    q, k, v = _heads(q, heads), _heads(k, shared), _heads(v, shared)
    batch, _, steps, size = q.shape
    scale = node["scale"] or 1 / np.sqrt(size)
    rule = node["update_rule"]
    gated, delta = "gated" in rule, "delta" in rule
    state = np.zeros((batch, shared, k.shape[-1], v.shape[-1]), q.dtype) if past is None else past.astype(q.dtype)
    gates = None if decay is None or not gated else np.exp(_heads(decay, shared))  # (batch, heads, steps, size or 1)
    rates = None if beta is None or not delta else (_heads(beta, shared) if beta.shape[-1] == shared else beta[:, None])
    if (gated and gates is None) or (delta and rates is None):
        raise ValueError(f"the rule {rule} needs decay and beta")
    out = np.zeros((batch, heads, steps, v.shape[-1]), q.dtype)
    for step in range(steps):
        key, value = k[:, :, step], v[:, :, step]
        if gates is not None:
            state = state * gates[:, :, step, :, None]
        if rates is not None:
            value = rates[:, :, step] * (value - np.einsum("bhkv,bhk->bhv", state, key))
        state = state + key[..., :, None] * value[..., None, :]
        out[:, :, step] = scale * np.einsum("bhkv,bhk->bhv", _repeated(state, heads), q[:, :, step])
    return out.transpose(0, 2, 1, 3).reshape(batch, steps, -1), state
