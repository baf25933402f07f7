"""How do decision trees leave without one row that lands in another leaf?

The operator for trees is asked one thing alone: in which leaf of each tree does a row end? That is a whole number,
exact in any type. What the leaves say is added up by ordinary operators, in the original's type and in the original's
order, so that sums agree to the last bit, ties too. Splits on categories become yes-or-no columns before the trees,
looked up in a table: what a missing or unknown category does is in the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.trees import Ensemble
from reversible.errors import SourceError
from reversible_exporters.tabular_model_graph import BOOL, DOUBLE, FLOAT, INT, Array, Graph, Tensor

_LEAVES = 1 << 24  # whole numbers up to here are exact in float32, in which the operator answers
_AT_ONCE = 8192  # numbers per row that one running sum holds


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One tree, its nodes numbered from the root, 0.

    Attributes:
        feature: (nodes,) the column that a node asks; -1 at a leaf.
        threshold: (nodes,) goes left when the value is at most this (or below this: `strict` in `leaves`).
        left: (nodes,) the next node; -1 at a leaf.
        right: (nodes,)
        missing_left: (nodes,) whether a missing value (NaN) goes left.
        values: (nodes, outputs) what a leaf says, in the type in which the original adds.
    """

    feature: NDArray[np.int64]
    threshold: Array
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    values: Array


@dataclass
class Categories:
    """Collects the splits on the categories of one feature: one column of a table each.

    `known` is how many codes there are: 0 to known - 1. Row `known` of the table is what any other value does, and the
    row after it what a missing one does.
    """

    known: int
    splits: dict[bytes, int] = field(default_factory=dict)

    def column(self, goes_left: NDArray[np.bool_]) -> int:
        """The number of the column with these answers, (known + 2,)."""
        return self.splits.setdefault(goes_left.astype(np.bool_).tobytes(), len(self.splits))

    def table(self) -> Array:
        """(known + 2, splits) float32, 1 where the category goes left."""
        columns = [np.frombuffer(one, dtype=np.bool_) for one in self.splits]
        return np.stack(columns, axis=1).astype(np.float32)


def leaves(graph: Graph, rows: Tensor, trees: Sequence[Tree], *, strict: bool = False) -> Tensor:
    """In which leaf does each row end? (rows, trees) int64: the leaf's number among those of its tree, in node order.

    Args:
        graph: Where to write.
        rows: (rows, features), float32 or float64: the type in which the original compares.
        trees: Thresholds may be finer than float32; each is then rounded down, which changes no answer for a float32.
        strict: Goes left below the threshold, not at it.
    """
    from onnx import numpy_helper

    kind = np.dtype(rows.dtype)
    feature: list[int] = []
    threshold: list[Array] = []
    true, false, ids, nodes, modes, tracks = [], [], [], [], [], []
    leaf_ids, leaf_nodes, weights = [], [], []
    for number, tree in enumerate(trees):
        leaf = tree.left < 0
        count = len(leaf)
        if int(leaf.sum()) >= _LEAVES:
            raise SourceError(f"tree {number} has {int(leaf.sum())} leaves; more than {_LEAVES - 1} are not handled")
        feature += np.where(leaf, 0, tree.feature).tolist()
        threshold.append(np.where(leaf, 0, _rounded(tree.threshold, kind, strict=strict)).astype(kind))
        true += np.where(leaf, 0, tree.left).tolist()
        false += np.where(leaf, 0, tree.right).tolist()
        ids += [number] * count
        nodes += list(range(count))
        branch = "BRANCH_LT" if strict else "BRANCH_LEQ"
        modes += ["LEAF" if one else branch for one in leaf]
        tracks += np.where(leaf, 0, tree.missing_left).astype(int).tolist()
        leaf_nodes += np.flatnonzero(leaf).tolist()
        leaf_ids += [number] * int(leaf.sum())
        weights.append(np.arange(int(leaf.sum()), dtype=kind))
    values, answers = np.concatenate(threshold), np.concatenate(weights)
    numbers = (
        {"nodes_values": values.tolist(), "target_weights": answers.tolist()}
        if rows.dtype == FLOAT
        else {
            "nodes_values_as_tensor": numpy_helper.from_array(values, "thresholds"),
            "target_weights_as_tensor": numpy_helper.from_array(answers, "leaves"),
        }
    )
    found = graph.node(
        "TreeEnsembleRegressor", rows, dtype=FLOAT, width=len(trees), domain="ai.onnx.ml", n_targets=len(trees),
        nodes_treeids=ids, nodes_nodeids=nodes, nodes_featureids=feature, nodes_modes=modes,
        nodes_truenodeids=true, nodes_falsenodeids=false, nodes_missing_value_tracks_true=tracks,
        target_treeids=leaf_ids, target_nodeids=leaf_nodes, target_ids=leaf_ids, **numbers,
    )  # fmt: skip
    graph.ensembles.append(_as_they_were(found.name, trees, strict=strict))
    return graph.cast(found, INT)


def _as_they_were(name: str, trees: Sequence[Tree], *, strict: bool) -> Ensemble:
    def joined(field: str) -> Array:
        return np.concatenate([getattr(tree, field) for tree in trees])

    return Ensemble(
        name=name, strict=strict, leaf=joined("left") < 0, feature=joined("feature"),
        tree=np.repeat(np.arange(len(trees)), [len(tree.left) for tree in trees]),
        threshold=joined("threshold").astype(np.float64), left=joined("left"), right=joined("right"),
        missing_left=joined("missing_left").astype(np.bool_),
    )  # fmt: skip


def total(
    graph: Graph,
    leaf: Tensor,
    trees: Sequence[Tree],
    *,
    start: Array | None = None,
    only: Sequence[int] | None = None,
) -> Tensor:
    """What the leaves say, added in the order of the trees: (rows, outputs), in the type of the leaves' values.

    Args:
        graph: Where to write.
        leaf: The result of `leaves` for the same trees.
        trees: The trees.
        start: (outputs,) what the sum begins with; 0 when None.
        only: The numbers of the trees to add; all when None.
    """
    chosen = list(range(len(trees))) if only is None else list(only)
    tables = [trees[one].values[trees[one].left < 0] for one in chosen]
    outputs = tables[0].shape[1]
    if start is not None:
        tables[0] = start.astype(tables[0].dtype) + tables[0]
    at_once = max(1, _AT_ONCE // outputs)
    so_far: Tensor | None = None
    for first in range(0, len(chosen), at_once):
        part = tables[first : first + at_once]
        graph.originals[f"leaves of {leaf.name}, {len(graph.originals)}"] = np.concatenate(part)
        offsets = np.cumsum([0, *(len(table) for table in part[:-1])])
        index = graph.apply("Add", graph.columns(leaf, chosen[first : first + at_once]), offsets[None, :])
        said = graph.node(
            "Gather", graph.constant(np.concatenate(part)), index, dtype=part[0].dtype.name, width=len(part), axis=0
        )
        if so_far is not None:
            ahead = graph.node("Unsqueeze", so_far, graph.constant(np.array([1])), dtype=so_far.dtype, width=1)
            said = graph.concat([ahead, said])
        if said.width == 1:
            squeezed = graph.constant(np.array([1]))
            so_far = graph.node("Squeeze", said, squeezed, dtype=said.dtype, width=outputs)
            continue
        running = graph.node("CumSum", said, graph.constant(np.int64(1)), dtype=said.dtype, width=said.width)
        last = graph.constant(np.int64(-1))
        so_far = graph.node("Gather", running, last, dtype=said.dtype, width=outputs, axis=1)
    assert so_far is not None  # noqa: S101 - there is at least one tree
    return so_far


def with_categories(
    graph: Graph, rows: Tensor, codes: dict[int, Tensor], splits: dict[int, Categories]
) -> tuple[Tensor, dict[int, int]]:
    """The rows with a yes-or-no column for every split on categories, and where each feature's columns begin.

    Args:
        graph: Where to write.
        rows: (rows, features).
        codes: By feature, as `code` makes them.
        splits: By feature.
    """
    parts, begins, width = [rows], {}, rows.width
    for feature, one in splits.items():
        if not one.splits:
            continue
        begins[feature] = width
        parts.append(graph.cast(graph.gather(one.table(), codes[feature]), rows.dtype))
        width += len(one.splits)
    return graph.concat(parts), begins


def code(graph: Graph, column: Tensor, known: int, *, truncated: bool = False) -> Tensor:
    """A number as a category: itself when it is a whole number of 0 to known - 1, else `known`, and known + 1 for NaN.

    (rows, 1) int64. `truncated`: what stands behind the point is dropped first, as C converts it (-0.5 is 0, then).
    """
    if truncated:
        sign = graph.one("Sign", column)
        column = graph.apply("Mul", sign, graph.one("Floor", graph.one("Abs", column)))
    floor = graph.one("Floor", column)
    whole = graph.apply("Equal", floor, column)
    inside = graph.apply("And", graph.apply("GreaterOrEqual", column, 0.0), graph.apply("Less", column, float(known)))
    good = graph.node("And", whole, inside, dtype=BOOL, width=1)
    outside = np.array([[known]], dtype=column.dtype)
    other = graph.where(graph.is_nan(column), outside + 1, outside)
    return graph.cast(graph.where(good, column, other), INT)


def on_columns(tree: Tree, columns: Sequence[int]) -> Tree:
    """The tree with its splits on categories asked of yes-or-no columns.

    Args:
        tree: The tree; what a missing category does is in the table, not here.
        columns: Per node the column of the wide matrix, -1 where the node splits a number. 1 there goes left.
    """
    asks = np.asarray(columns) >= 0
    return replace(
        tree,
        feature=np.where(asks, columns, tree.feature),
        threshold=np.where(asks, 0.5, tree.threshold),
        left=np.where(asks, tree.right, tree.left),  # 1 is above a half
        right=np.where(asks, tree.left, tree.right),
        missing_left=tree.missing_left & ~asks,
    )


def _rounded(threshold: Array, kind: "np.dtype[np.generic]", *, strict: bool) -> Array:
    """The largest number of the coarser type at most the threshold (strict: the smallest at least it)."""
    exact = threshold.astype(np.float64)
    with np.errstate(over="ignore"):
        near = exact.astype(kind)
    beyond = near.astype(np.float64) < exact if strict else near.astype(np.float64) > exact
    return np.where(beyond, np.nextafter(near, kind.type(np.inf if strict else -np.inf)), near)


__all__ = ["DOUBLE", "Categories", "Tree", "code", "leaves", "total", "with_categories"]
