"""Tree ensembles: all rows walk all trees, one level at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reversible.errors import EvaluatorError
from reversible.evaluator.node import Node
from reversible.evaluator.operators.special import inverse_normal, sigmoid, softmax
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array

ML = "ai.onnx.ml"
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_COMPARE: tuple[Callable[[Array, Array], Any], ...] = (
    np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal,
)  # fmt: skip
_BLOCK = 1 << 20  # pairs of a row and a tree at a time


@dataclass(frozen=True)
class Forest:
    """All trees as arrays over their nodes; a leaf leads to itself."""

    roots: Array
    feature: Array
    mode: Array  # its place in _MODES, -1 for a leaf
    threshold: Array
    true: Array
    false: Array
    missing_true: Array
    members: dict[int, Array]  # of BRANCH_MEMBER nodes
    leaf_first: Array  # of each node, where its weights begin in the three below; empty for inner nodes
    leaf_count: Array
    targets: Array
    weights: Array
    depth: int

    def leaves(self, x: Array) -> Array:
        """The leaf that each row reaches in each tree: x (rows, features) to (rows, trees)."""
        at = np.broadcast_to(self.roots, (x.shape[0], self.roots.size)).copy()
        rows = np.arange(x.shape[0])[:, None]
        modes = [one for one in np.unique(self.mode) if one >= 0]
        for _ in range(self.depth + 1):
            mode = self.mode[at]
            if np.all(mode < 0):
                return at
            value = x[rows, self.feature[at]]
            limit = self.threshold[at]
            if len(modes) == 1 and modes[0] < len(_COMPARE):
                goes = np.asarray(_COMPARE[modes[0]](value, limit))
            else:
                goes = np.zeros(at.shape, bool)
                for one in modes:
                    here = mode == one
                    goes[here] = _COMPARE[one](value[here], limit[here]) if one < len(_COMPARE) else self._member(
                        at[here], value[here])  # fmt: skip
            unknown = np.isnan(value)
            if unknown.any():
                goes = np.where(unknown, goes | self.missing_true[at], goes)
            at = np.where(goes, self.true[at], self.false[at])
        raise EvaluatorError("a tree has a cycle")

    def _member(self, nodes: Array, values: Array) -> Array:
        return np.array([np.any(self.members[int(one)] == two) for one, two in zip(nodes, values, strict=True)], bool)

    def scores(self, x: Array, targets: int, how: str, base: Array) -> Array:
        """(rows, targets), each leaf's weights brought together as `how` says, from `base` on."""
        out = np.empty((x.shape[0], targets), np.float64)
        step = max(1, _BLOCK // max(1, self.roots.size))
        for first in range(0, x.shape[0], step):
            part = slice(first, first + step)
            out[part] = self._brought_together(self.leaves(x[part]), targets, how)
        return out / max(1, self.roots.size) + base if how == "AVERAGE" else out + base

    def _brought_together(self, leaves: Array, targets: int, how: str) -> Array:
        counts = self.leaf_count[leaves]
        most = int(counts.max(initial=0))
        extreme = how in ("MIN", "MAX")
        out = np.full((leaves.shape[0], targets), {"MIN": np.inf, "MAX": -np.inf}.get(how, 0.0))
        rows = np.broadcast_to(np.arange(leaves.shape[0])[:, None], leaves.shape)
        for at in range(most):
            has = counts > at
            place = (self.leaf_first[leaves] + at)[has]
            flat = rows[has] * targets + self.targets[place]
            if extreme:
                (np.minimum if how == "MIN" else np.maximum).at(out.reshape(-1), flat, self.weights[place])
            else:
                out += np.bincount(flat, self.weights[place], out.size).reshape(out.shape)
        return np.where(np.isinf(out), 0, out) if extreme else out


def _depth(roots: Array, true: Array, false: Array, inner: Array) -> int:
    """How many steps the longest way down takes; raises for a way that never ends."""
    level, depth = np.unique(roots[inner[roots]]), 0
    while level.size:
        depth += 1
        if depth > inner.size:
            raise EvaluatorError("a tree has a cycle")
        below = np.unique(np.concatenate([true[level], false[level]]))
        level = below[inner[below]]
    return depth


def _forest(
    roots: Array, feature: Array, mode: Array, threshold: Array, true: Array, false: Array, missing: Array,
    leaf_nodes: Array, targets: Array, weights: Array, members: dict[int, Array] | None = None,
) -> Forest:  # fmt: skip
    order = np.argsort(leaf_nodes, kind="stable")
    count = np.bincount(leaf_nodes, minlength=feature.size)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    if min((one.min(initial=0) for one in (feature, true, false, targets)), default=0) < 0:
        raise EvaluatorError("a tree holds a negative index")
    return Forest(roots, feature, mode, threshold, true, false, missing.astype(bool), members or {}, first, count,
                  targets[order], weights[order], _depth(roots, true, false, mode >= 0))  # fmt: skip


def _ints(values: Any) -> Array:
    return np.asarray(values if values is not None else (), np.int64).reshape(-1)


def _either(node: Node, name: str, default: Any = ()) -> Array:
    """A list of float32, or the tensor of the same name that may be float64."""
    tensor = node.get(f"{name}_as_tensor")
    return np.asarray(node.get(name, default) if tensor is None else tensor, np.float64).reshape(-1)


_FORESTS = "forest"


def _listed(node: Node, prefix: str) -> Forest:
    """From the attributes of TreeEnsembleClassifier and TreeEnsembleRegressor: nodes named by tree and number."""
    trees, numbers = _ints(node["nodes_treeids"]), _ints(node["nodes_nodeids"])
    place = {pair: at for at, pair in enumerate(zip(trees.tolist(), numbers.tolist(), strict=True))}
    size = trees.size
    mode = np.array([_MODES.index(one) if one != "LEAF" else -1 for one in node["nodes_modes"]], np.int64)
    own = np.arange(size)
    true, false = own.copy(), own.copy()
    for into, ids in ((true, _ints(node["nodes_truenodeids"])), (false, _ints(node["nodes_falsenodeids"]))):
        for at in np.flatnonzero(mode >= 0):
            into[at] = place[(int(trees[at]), int(ids[at]))]
    missing = _ints(node.get("nodes_missing_value_tracks_true"))
    _, first = np.unique(trees, return_index=True)
    roots = _roots(np.sort(first), trees, true, false, mode)
    leaf_trees, leaf_numbers = _ints(node[f"{prefix}_treeids"]), _ints(node[f"{prefix}_nodeids"])
    leaves = np.array([place[pair] for pair in zip(leaf_trees.tolist(), leaf_numbers.tolist(), strict=True)], np.int64)
    threshold = _either(node, "nodes_values")
    if not size == mode.size == threshold.size == _ints(node["nodes_featureids"]).size:
        raise EvaluatorError("the lists of a tree's nodes have different lengths")
    return _forest(
        roots, np.where(mode >= 0, _ints(node["nodes_featureids"]), 0), mode, threshold, true, false,
        missing if missing.size else np.zeros(size), leaves, _ints(node[f"{prefix}_ids"]),
        _either(node, f"{prefix}_weights"),
    )  # fmt: skip


def _roots(first: Array, trees: Array, true: Array, false: Array, mode: Array) -> Array:
    """Of each tree the one node that no other leads to; the first listed where there are several."""
    led_to = np.zeros(trees.size, bool)
    inner = mode >= 0
    led_to[true[inner]] = True
    led_to[false[inner]] = True
    free = np.flatnonzero(~led_to)
    found: dict[int, int] = {}
    for at in free:
        found.setdefault(int(trees[at]), int(at))
    return np.array([found.get(int(trees[at]), int(at)) for at in first], np.int64)


def _cached(node: Node, make: Callable[[], Forest]) -> Forest:
    if _FORESTS not in node.cache:
        node.cache[_FORESTS] = make()
    return node.cache[_FORESTS]


def _rows(x: Array, forest: Forest) -> Array:
    x = x.reshape(1, -1) if x.ndim < 2 else x
    if x.ndim != 2 or forest.feature.max(initial=0) >= x.shape[1]:
        raise ValueError(f"a tree looks at feature {forest.feature.max(initial=0)} of rows of shape {x.shape[1:]}")
    return x


def transformed(scores: Array, how: str) -> Array:
    """A post_transform of ai.onnx.ml, over the last axis."""
    if how in ("NONE", ""):
        return scores
    if how == "LOGISTIC":
        return sigmoid(scores)
    if how == "SOFTMAX":
        return softmax(scores)
    if how == "SOFTMAX_ZERO":  # zeros stay zeros, and take no part
        some = scores != 0
        out = np.where(some, np.exp(scores - scores.max(axis=-1, keepdims=True, initial=-np.inf)), 0)
        total = out.sum(axis=-1, keepdims=True)
        return np.asarray(out / np.where(total == 0, 1, total))
    if how == "PROBIT":
        return inverse_normal(scores)
    raise ValueError(f"there is no post_transform {how}")


def _float(node: Node, x: Array) -> np.dtype[Any]:
    """The float type of the scores: float32 as declared, float64 when floats travel so."""
    return np.dtype(np.float64 if node.precision.wide else np.float32)


@operator("TreeEnsembleRegressor", domain=ML)
def tree_regressor(node: Node, x: Array) -> Array:
    forest = _cached(node, lambda: _listed(node, "target"))
    targets = node.get("n_targets") or int(forest.targets.max(initial=0)) + 1
    base = _either(node, "base_values")
    out = forest.scores(_rows(x, forest), targets, node["aggregate_function"], base if base.size else np.zeros(1))
    return transformed(out, node["post_transform"]).astype(_float(node, x))


@operator("TreeEnsembleClassifier", domain=ML)
def tree_classifier(node: Node, x: Array) -> tuple[Array, Array]:
    forest = _cached(node, lambda: _listed(node, "class"))
    labels = class_labels(node)
    base = _either(node, "base_values")
    used = np.unique(forest.targets)
    binary = len(labels) == 2 and used.size == 1
    if not binary:
        scores = forest.scores(_rows(x, forest), len(labels), "SUM", base if base.size else np.zeros(1))
        chosen = np.argmax(scores, axis=1) if scores.size else np.zeros(scores.shape[0], np.int64)
        return labels[chosen], transformed(scores, node["post_transform"]).astype(_float(node, x))
    one = forest.scores(_rows(x, forest), int(used[0]) + 1, "SUM", np.zeros(1))[:, int(used[0])]
    one = one + (base[-1] if base.size else 0)
    return two_classes(node, one, labels, positive_weights=bool(np.all(forest.weights >= 0)), dtype=_float(node, x))


def two_classes(node: Node, score: Array, labels: Array, *, positive_weights: bool, dtype: Any) -> tuple[Array, Array]:
    """Both classes' scores from the second's, as ai.onnx.ml's classifiers with one score for two classes do.

    With weights that are all positive the score is a probability: the first class has 1 - score, the edge is 0.5.
    Otherwise it is a margin: the first class has -score, and the edge is 0.
    """
    how = node["post_transform"]
    chosen = (score > (0.5 if positive_weights else 0.0)).astype(np.int64)
    if how == "LOGISTIC":
        both = np.stack([sigmoid(-score), sigmoid(score)], axis=1)
    elif how == "PROBIT":
        raise EvaluatorError("PROBIT of one score for two classes is defined nowhere")
    else:  # NONE; and the softmaxes, which onnxruntime leaves out where there is one score
        both = np.stack([1 - score if positive_weights else -score, score], axis=1)
    return labels[chosen], both.astype(dtype)


def class_labels(node: Node) -> Array:
    """The classes, as strings or integers."""
    for name in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
        given: Sequence[Any] | None = node.get(name)
        if given:
            return np.array(given, object if name.endswith("strings") else np.int64)
    raise EvaluatorError("the classes have no labels")


@operator("TreeEnsemble", domain=ML, since=5)
def tree_ensemble(node: Node, x: Array) -> Array:
    forest = _cached(node, lambda: _modern(node))
    how = ("AVERAGE", "SUM", "MIN", "MAX")[node["aggregate_function"]]
    targets = node.get("n_targets") or int(forest.targets.max(initial=0)) + 1
    out = forest.scores(_rows(x, forest), targets, how, np.zeros(1))
    return transformed(out, ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")[node["post_transform"]]).astype(
        x.dtype
    )


def _modern(node: Node) -> Forest:
    """From the attributes of TreeEnsemble: inner nodes and leaves are listed apart; leaves follow the nodes here."""
    modes = np.asarray(node["nodes_modes"]).astype(np.int64).reshape(-1)
    inner, weights = modes.size, np.asarray(node["leaf_weights"], np.float64).reshape(-1)
    size = inner + weights.size
    own = np.arange(size)
    true, false = own.copy(), own.copy()
    true[:inner] = _ints(node["nodes_truenodeids"]) + inner * _ints(node["nodes_trueleafs"])
    false[:inner] = _ints(node["nodes_falsenodeids"]) + inner * _ints(node["nodes_falseleafs"])
    longer: Callable[[Any, Any], Array] = lambda one, fill: np.concatenate([one, np.full(weights.size, fill)])  # noqa: E731
    missing = _ints(node.get("nodes_missing_value_tracks_true"))
    members: dict[int, Array] = {}
    if (modes == 6).any():
        values = np.asarray(node["membership_values"], np.float64).reshape(-1)
        ends = np.flatnonzero(np.isnan(values))
        sets = np.split(values, ends + 1)
        for at, one in zip(np.flatnonzero(modes == 6), sets, strict=False):
            members[int(at)] = one[~np.isnan(one)]
    return _forest(
        _ints(node["tree_roots"]), longer(_ints(node["nodes_featureids"]), 0), longer(modes, -1),
        longer(np.asarray(node["nodes_splits"], np.float64).reshape(-1), 0.0), true, false,
        longer(missing if missing.size else np.zeros(inner), 0), own[inner:], _ints(node["leaf_targetids"]), weights,
        members,
    )  # fmt: skip
