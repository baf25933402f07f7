"""The linear models and support vector machines of ai.onnx.ml."""

from __future__ import annotations

from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.tabular import floats
from reversible.evaluator.operators.trees import ML, class_labels, transformed
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array


def _kind(node: Node) -> Any:
    return np.float64 if node.precision.wide else np.float32


def _rows(node: Node, x: Array) -> Array:
    return np.atleast_2d(floats(node, x)).astype(_kind(node), copy=False)


@operator("LinearRegressor", domain=ML)
def linear_regressor(node: Node, x: Array) -> Array:
    rows = _rows(node, x)
    weights = np.asarray(node["coefficients"], _kind(node)).reshape(node["targets"], -1)
    out = rows @ weights.T + np.asarray(node.get("intercepts") or 0, _kind(node))
    return transformed(out, node["post_transform"]).astype(_kind(node))


@operator("LinearClassifier", domain=ML)
def linear_classifier(node: Node, x: Array) -> tuple[Array, Array]:
    rows = _rows(node, x)
    labels = class_labels(node)
    weights = np.asarray(node["coefficients"], _kind(node)).reshape(-1, rows.shape[1])
    scores = rows @ weights.T + np.asarray(node.get("intercepts") or 0, _kind(node))
    how = node["post_transform"]
    if scores.shape[1] == 1 and len(labels) == 2:
        score = scores[:, 0]
        chosen = (score > 0).astype(np.int64)
        both = np.stack([-score, score], axis=1)
        if how == "NONE":
            both = np.stack([1 - score, score], axis=1)
            chosen = (score > 0.5).astype(np.int64)
        return labels[chosen], transformed(both, how).astype(_kind(node))
    return labels[np.argmax(scores, axis=1)], transformed(scores, how).astype(_kind(node))


def _kernel(node: Node, x: Array, vectors: Array) -> Array:
    """k(x, v) of each row with each support vector: (rows, vectors)."""
    gamma, coef, degree = (*(node.get("kernel_params") or ()), 0.0, 0.0, 0.0)[:3]
    how = node["kernel_type"]
    if how == "RBF":
        square = np.sum(x * x, axis=1)[:, None] - 2 * (x @ vectors.T) + np.sum(vectors * vectors, axis=1)
        return np.exp(-gamma * np.maximum(square, 0))
    inner = x @ vectors.T
    if how == "POLY":
        return np.asarray((gamma * inner + coef) ** degree)
    if how == "SIGMOID":
        return np.tanh(gamma * inner + coef)
    return inner


@operator("SVMRegressor", domain=ML)
def svm_regressor(node: Node, x: Array) -> Array:
    rows = _rows(node, x).astype(np.float64)
    rho = np.asarray(node.get("rho") or (0.0,), np.float64)
    weights = np.asarray(node["coefficients"], np.float64)
    if node.get("n_supports"):
        vectors = np.asarray(node["support_vectors"], np.float64).reshape(node["n_supports"], -1)
        out = _kernel(node, rows, vectors) @ weights + rho[0]
    else:
        out = _kernel(node, rows, weights.reshape(1, -1))[:, 0] + rho[0]
    if node.get("one_class"):
        out = np.where(out > 0, 1.0, -1.0)
    return transformed(out[:, None], node["post_transform"]).astype(_kind(node))


@operator("SVMClassifier", domain=ML)
def svm_classifier(node: Node, x: Array) -> tuple[Array, Array]:
    rows = _rows(node, x).astype(np.float64)
    labels = class_labels(node)
    rho = np.asarray(node.get("rho") or (0.0,), np.float64)
    counts = list(node.get("vectors_per_class") or ())
    if not counts:  # a linear model under this name
        weights = np.asarray(node["coefficients"], np.float64).reshape(len(labels), -1)
        scores = _kernel(node, rows, weights) + rho[0]
        return labels[np.argmax(scores, axis=1)], transformed(scores, node["post_transform"]).astype(_kind(node))
    decisions = _decisions(node, rows, counts, rho)
    votes = _votes(decisions, len(counts))  # the label is theirs, as in libsvm's predict, with probabilities too
    a, b = node.get("prob_a"), node.get("prob_b")
    if a:
        pairs = 1 / (1 + np.exp(decisions * np.asarray(a) + np.asarray(b)))
        chances = _coupled(pairs, len(counts))
        return labels[np.argmax(votes, axis=1)], chances.astype(_kind(node))
    if len(counts) == 2:
        score = decisions[:, 0]
        both = transformed(np.stack([-score, score], axis=1), node["post_transform"])  # as onnxruntime signs them
        return labels[np.argmax(votes, axis=1)], both.astype(_kind(node))
    return labels[np.argmax(votes, axis=1)], transformed(decisions, node["post_transform"]).astype(_kind(node))


def _decisions(node: Node, rows: Array, counts: list[int], rho: Array) -> Array:
    """One for each pair of classes, (rows, pairs), positive for the first: libsvm's one against one."""
    total, classes = sum(counts), len(counts)
    vectors = np.asarray(node["support_vectors"], np.float64).reshape(total, -1)
    weights = np.asarray(node["coefficients"], np.float64).reshape(classes - 1, total)
    kernel = _kernel(node, rows, vectors)
    first = np.concatenate([[0], np.cumsum(counts)])
    found: list[Array] = []
    for i in range(classes):
        for j in range(i + 1, classes):
            mine, others = slice(first[i], first[i + 1]), slice(first[j], first[j + 1])
            found.append(
                kernel[:, mine] @ weights[j - 1, mine] + kernel[:, others] @ weights[i, others] + rho[len(found)]
            )
    return np.stack(found, axis=1)


def _votes(decisions: Array, classes: int) -> Array:
    votes = np.zeros((decisions.shape[0], classes))
    pair = 0
    for i in range(classes):
        for j in range(i + 1, classes):
            wins = decisions[:, pair] > 0
            votes[:, i] += wins
            votes[:, j] += ~wins
            pair += 1
    return votes


def _coupled(pairs: Array, classes: int) -> Array:
    """Class probabilities from those of each pair.

    Source: Wu, Lin & Weng, Probability estimates for multi-class classification by pairwise coupling, JMLR 5 (2004),
    second method, as in libsvm's multiclass_probability, its limits of 1e-7 and of the number of rounds included.
    """
    pairs = np.clip(pairs, 1e-7, 1 - 1e-7)
    rows = pairs.shape[0]
    r = np.zeros((rows, classes, classes))
    at = 0
    for i in range(classes):
        for j in range(i + 1, classes):
            r[:, i, j], r[:, j, i] = pairs[:, at], 1 - pairs[:, at]
            at += 1
    q = -np.swapaxes(r, 1, 2) * r
    q[:, range(classes), range(classes)] = (r**2).sum(axis=1)
    p = np.full((rows, classes), 1 / classes)
    for _ in range(max(100, classes)):
        qp = np.einsum("nij,nj->ni", q, p)
        whole = (p * qp).sum(axis=1)
        going = np.abs(qp - whole[:, None]).max(axis=1) >= 0.005 / classes
        if not going.any():
            break
        for t in range(classes):
            step = np.where(going, (whole - qp[:, t]) / q[:, t, t], 0)
            p[:, t] += step
            whole = (whole + step * (step * q[:, t, t] + 2 * qp[:, t])) / (1 + step) ** 2
            qp = (qp + step[:, None] * q[:, t]) / (1 + step)[:, None]
            p /= (1 + step)[:, None]
    return p
