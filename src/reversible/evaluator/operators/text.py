"""Operators on strings."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from reversible.errors import EvaluatorError
from reversible.evaluator.node import Node
from reversible.evaluator.operators.elementwise import room
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def texts(values: list[Any], shape: tuple[int, ...]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape)


@operator("StringNormalizer")
def string_normalizer(node: Node, x: Array) -> Array:
    """Case and stop words; the locale says nothing about case in Unicode but for Turkish, Azeri and Lithuanian."""
    change: dict[str, Callable[[str], str]] = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}
    action = change[node["case_change_action"]]
    if (node.get("locale") or "")[:2] in ("tr", "az", "lt") and node["case_change_action"] != "NONE":
        raise EvaluatorError(f"case in the locale {node['locale']} is not covered")
    words = list(node.get("stopwords") or ())
    if node.get("is_case_sensitive"):
        stopped = set(words)
        kept = [one for one in x.reshape(-1) if one not in stopped]
    else:
        stopped = {one.lower() for one in words}
        kept = [one for one in x.reshape(-1) if one.lower() not in stopped]
    out = [action(one) for one in kept]
    if x.ndim == 2:
        if x.shape[0] != 1:
            raise ValueError(f"a tensor of shape {x.shape}: one row, or one dimension")
        return texts(out or [""], (1, max(1, len(out))))
    return texts(out or [""], (max(1, len(out)),))


@operator("StringConcat")
def string_concat(node: Node, a: Array, b: Array) -> Array:
    room(node, a, b)
    longest = max((len(one) for one in a.reshape(-1)), default=0) + max((len(one) for one in b.reshape(-1)), default=0)
    if longest * max(a.size, b.size) > node.limits.text_bytes:
        raise EvaluatorError(f"strings of more than {node.limits.text_bytes} bytes")
    left, right = np.broadcast_arrays(a, b)
    return texts([one + two for one, two in zip(left.reshape(-1), right.reshape(-1), strict=True)], left.shape)


@operator("StringSplit")
def string_split(node: Node, x: Array) -> tuple[Array, Array]:
    most = node.get("maxsplit")
    parts = [one.split(node.get("delimiter") or None, -1 if most is None else most) for one in x.reshape(-1)]
    widest = max((len(one) for one in parts), default=0)
    node.limits.room((x.size, widest))
    padded = [one + [""] * (widest - len(one)) for one in parts]
    counts = np.array([len(one) for one in parts], np.int64).reshape(x.shape)
    return texts([word for one in padded for word in one], (*x.shape, widest)), counts


@operator("RegexFullMatch")
def regex_full_match(node: Node, x: Array) -> Array:
    """With RE2, as the operator asks: no pattern takes more than linear time. Arrow brings it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    matches = pc.match_substring_regex(pa.array(x.reshape(-1).tolist(), pa.string()), rf"\A(?:{node['pattern']})\z")
    return np.array(matches.to_pylist(), bool).reshape(x.shape)


@operator("TfIdfVectorizer")
def tf_idf_vectorizer(node: Node, x: Array) -> Array:
    if "grams" not in node.cache:
        node.cache["grams"] = _grams(node)
    grams: dict[tuple[Any, ...], int] = node.cache["grams"]
    width = max(node["ngram_indexes"], default=-1) + 1
    rows = x.reshape(1, -1) if x.ndim < 2 else x
    node.limits.room((rows.shape[0], width))
    out = np.zeros((rows.shape[0], width), np.float64)
    for row, items in enumerate(rows.tolist()):
        for place in _found(items, grams, node["min_gram_length"], node["max_gram_length"], node["max_skip_count"]):
            out[row, place] += 1
    if node["mode"] in ("IDF", "TFIDF"):
        weights = np.ones(width)
        if node.get("weights"):
            weights[list(node["ngram_indexes"])] = node["weights"]
        out = np.where(out > 0, weights, 0) if node["mode"] == "IDF" else out * weights
    out = out.astype(np.float64 if node.precision.wide else np.float32)
    return out[0] if x.ndim < 2 else out


def _grams(node: Node) -> dict[tuple[Any, ...], int]:
    """Each n-gram of the pool, and its column."""
    pool = list(node.get("pool_strings") or node.get("pool_int64s") or ())
    begins = [*node["ngram_counts"], len(pool)]
    indexes, grams, number = list(node["ngram_indexes"]), {}, 0
    for size, (first, last) in enumerate(pairwise(begins), start=1):
        for at in range(first, last - size + 1, size):
            grams[tuple(pool[at : at + size])] = indexes[number]
            number += 1
    return grams


def _found(items: list[Any], grams: dict[tuple[Any, ...], int], shortest: int, longest: int, skips: int) -> list[int]:
    found = []
    for size in range(shortest, longest + 1):
        for skip in range(skips + 1 if size > 1 else 1):  # a single item has nothing to skip between
            reach = (size - 1) * (skip + 1)
            for at in range(len(items) - reach):
                place = grams.get(tuple(items[at : at + reach + 1 : skip + 1]))
                if place is not None:
                    found.append(place)
    return found
