"""The operators of ai.onnx.ml that prepare columns and map labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from reversible.errors import EvaluatorError
from reversible.evaluator.node import Node
from reversible.evaluator.operators.trees import ML
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def floats(node: Node, x: Array) -> Array:
    """x as floats: its own type when it is one, float32 (as these operators return) otherwise."""
    if x.dtype.kind == "f":
        return x
    return x.astype(np.float64 if node.precision.wide else np.float32)


def _texts(values: Any, shape: tuple[int, ...]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape)


@operator("Scaler", domain=ML)
def scaler(node: Node, x: Array) -> Array:
    kind = np.float64 if node.precision.wide else np.float32
    x = x.astype(kind)
    return (x - np.asarray(node.get("offset") or 0, kind)) * np.asarray(node.get("scale") or 1, kind)


@operator("Imputer", domain=ML, moves=True)
def imputer(node: Node, x: Array) -> Array:
    whole = x.dtype.kind == "i"
    given = node.get("imputed_value_int64s" if whole else "imputed_value_floats")
    if not given:
        raise EvaluatorError("no imputed values")
    replaced = node.get("replaced_value_int64", 0) if whole else node.get("replaced_value_float", 0.0)
    gap = np.isnan(x) if not whole and np.isnan(replaced) else x == replaced
    return np.where(gap, np.asarray(given, x.dtype), x)


@operator("Binarizer", domain=ML)
def binarizer(node: Node, x: Array) -> Array:
    return np.asarray(x > node["threshold"]).astype(x.dtype)


@operator("Normalizer", domain=ML)
def normalizer(node: Node, x: Array) -> Array:
    x = floats(node, x)
    if node["norm"] == "MAX":
        norm = np.max(x, axis=-1, keepdims=True, initial=-np.inf)
    elif node["norm"] == "L1":
        norm = np.sum(np.abs(x), axis=-1, keepdims=True)
    else:
        norm = np.sqrt(np.sum(x * x, axis=-1, keepdims=True))
    return np.asarray(x / np.where(norm == 0, 1, norm)).astype(x.dtype)


@operator("ArrayFeatureExtractor", domain=ML, moves=True)
def array_feature_extractor(node: Node, x: Array, indices: Array) -> Array:
    chosen = indices.reshape(-1)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= x.shape[-1]):
        raise IndexError(f"feature {int(chosen.max())} of {x.shape[-1]}")
    out = np.take(x, chosen, axis=-1)
    return out.reshape(1, -1) if x.ndim == 1 else out


@operator("OneHotEncoder", domain=ML)
def one_hot_encoder(node: Node, x: Array) -> Array:
    categories = node.get("cats_strings") or node.get("cats_int64s")
    if not categories:
        raise EvaluatorError("no categories")
    node.limits.room((*x.shape, len(categories)))
    known = np.array(categories, object if x.dtype == object else np.int64)
    values = x if x.dtype == object else x.astype(np.int64)
    hot = values[..., None] == known
    if not node["zeros"] and not np.all(hot.any(axis=-1)):
        raise ValueError("an unknown category, and zeros are not allowed")
    return np.asarray(hot).astype(np.float64 if node.precision.wide else np.float32)


@operator("LabelEncoder", domain=ML, moves=True)
def label_encoder_1(node: Node, x: Array) -> Array:
    """Strings to their place in `classes_strings`, or places to strings."""
    classes = list(node["classes_strings"])
    if x.dtype == object:
        places = {one: at for at, one in enumerate(classes)}
        return np.array([places.get(one, node["default_int64"]) for one in x.reshape(-1)], np.int64).reshape(x.shape)
    chosen = [classes[one] if 0 <= one < len(classes) else node["default_string"] for one in x.reshape(-1)]
    return _texts(chosen, x.shape)


@operator("LabelEncoder", domain=ML, since=2, moves=True)
def label_encoder(node: Node, x: Array) -> Array:
    keys, _ = _one_of(node, "keys")
    values, kind = _one_of(node, "values")
    default = node.get("default_tensor")
    if default is not None:
        default = default.reshape(-1)[0]
    elif kind == "tensor":
        default = (
            "_Unused" if np.asarray(values).dtype == object else -1 if np.asarray(values).dtype.kind == "i" else -0.0
        )
    else:
        default = node[{"strings": "default_string", "int64s": "default_int64", "floats": "default_float"}[kind]]
    table: dict[Any, Any] = dict(zip(_plain(keys), _plain(values), strict=True))
    blank = next((value for key, value in table.items() if key != key), default)  # NaN, the one key unlike itself
    flat = x.astype(np.float32) if x.dtype.kind == "f" and "keys_floats" in node.attributes else x
    out = [blank if one != one else table.get(one, default) for one in _plain(flat.reshape(-1))]
    if kind == "strings" or (kind == "tensor" and np.asarray(values).dtype == object):
        return _texts(out, x.shape)
    if kind == "tensor":
        return np.array(out, np.asarray(values).dtype).reshape(x.shape)
    whole = np.int64 if kind == "int64s" else np.float64 if node.precision.wide else np.float32
    return np.array(out, whole).reshape(x.shape)


def _one_of(node: Node, what: str) -> tuple[Any, str]:
    for kind in ("strings", "int64s", "floats", "tensor"):
        given = node.get(f"{what}_{kind}")
        if given is not None and len(given):
            return given, kind
    raise EvaluatorError(f"no {what}")


def _plain(values: Any) -> list[Any]:
    return values.reshape(-1).tolist() if isinstance(values, np.ndarray) else list(values)


@operator("CategoryMapper", domain=ML, moves=True)
def category_mapper(node: Node, x: Array) -> Array:
    texts, numbers = node["cats_strings"], node["cats_int64s"]
    if x.dtype == object:
        table = dict(zip(texts, numbers, strict=True))
        return np.array([table.get(one, node["default_int64"]) for one in x.reshape(-1)], np.int64).reshape(x.shape)
    back = dict(zip(numbers, texts, strict=True))
    return _texts([back.get(int(one), node["default_string"]) for one in x.reshape(-1)], x.shape)


@operator("FeatureVectorizer", domain=ML)
def feature_vectorizer(node: Node, *columns: Array) -> Array:
    widths = node.get("inputdimensions") or [one.shape[-1] for one in columns]
    kind = np.float64 if node.precision.wide else np.float32
    parts = [one.reshape(-1, one.shape[-1]) if one.ndim > 1 else one.reshape(-1, 1) for one in columns]
    fitted = []
    for one, width in zip(parts, widths, strict=True):
        padded = np.zeros((one.shape[0], width), kind)
        padded[:, : min(width, one.shape[1])] = one[:, :width]
        fitted.append(padded)
    return np.concatenate(fitted, axis=1)


@operator("ZipMap", domain=ML, moves=True)
def zip_map(node: Node, x: Array) -> list[dict[Any, Any]]:
    labels = node.get("classlabels_strings") or node.get("classlabels_int64s")
    if not labels:
        raise EvaluatorError("the classes have no labels")
    return [dict(zip(labels, row, strict=True)) for row in np.atleast_2d(x)]


@operator("CastMap", domain=ML)
def cast_map(node: Node, given: dict[int, Any]) -> Array:
    if node["map_form"] == "SPARSE":
        most = int(node["max_map"])
        node.limits.room((most,))
        keys = range(most)
    else:
        keys = sorted(given)  # type: ignore[assignment] # a list, where a range is
    values = [given.get(one, 0) for one in keys]
    if node["cast_to"] == "TO_STRING":
        return _texts([str(one) for one in values], (1, len(values)))
    kind: Any = np.int64 if node["cast_to"] == "TO_INT64" else np.float64 if node.precision.wide else np.float32
    return np.array([float(one) for one in values], kind).reshape(1, -1)


@operator("DictVectorizer", domain=ML)
def dict_vectorizer(node: Node, given: dict[Any, Any]) -> Array:
    words = node.get("string_vocabulary") or node.get("int64_vocabulary") or ()
    values = [given.get(one, 0) for one in words]
    if any(isinstance(one, str) for one in given.values()):
        return _texts([one or "" for one in values], (1, len(values)))
    kind = np.asarray(next(iter(given.values()), 0)).dtype
    return np.array(values).astype(node.precision.widened(kind)).reshape(1, -1)
