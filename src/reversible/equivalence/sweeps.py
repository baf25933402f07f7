"""Which inputs touch every weight?

An output says nothing of a row of an embedding that no input asks for, or of a leaf that no input reaches. A sweep
asks for each once. It judges the port against the original at conversion time, where the original is at hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.tensors import constants

if TYPE_CHECKING:
    import onnx

_PASSING = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten"})
_LEAF = "LEAF"


@dataclass(frozen=True, kw_only=True)
class Table:
    """An embedding: a constant of `rows` rows, chosen by the values of one input of the graph.

    Attributes:
        name: Of the constant.
        rows: How many it has.
        input: Of the graph, through which its rows are chosen; "" when they are chosen otherwise.
    """

    name: str
    rows: int
    input: str


def embeddings(model: "onnx.ModelProto") -> list[Table]:
    """Every two-dimensional float constant whose rows a Gather chooses by index."""
    tensors = constants(model)
    makers = {name: node for node in model.graph.node for name in node.output}
    inputs = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type != "Gather" or any(one.name == "axis" and one.i for one in node.attribute):
            continue
        table = tensors.get(node.input[0])
        if table is not None and table.ndim == 2 and table.dtype.kind == "f":
            origin = node.input[1]
            while origin in makers and makers[origin].op_type in _PASSING:
                origin = makers[origin].input[0]
            found.append(Table(name=node.input[0], rows=len(table), input=origin if origin in inputs else ""))
    return found


def vocabulary(rows: int, length: int, *, seed: int = 0, batch: int = 16) -> Iterator[NDArray[np.int64]]:
    """Every id once, in a drawn order, `length` at a time.

    Args:
        rows: Of the embedding.
        length: Ids per sequence.
        seed: Of the order; the last sequence is filled up with ids from the beginning.
        batch: Sequences per array.

    Returns:
        Arrays (batch or fewer, length), int64.
    """
    order = np.random.default_rng(seed).permutation(rows)
    count = -(-rows // length)
    ids = np.resize(order, count * length).reshape(count, length)
    for first in range(0, count, batch):
        yield ids[first : first + batch]


@dataclass(frozen=True, kw_only=True)
class Leaves:
    """Inputs of a tree ensemble.

    Attributes:
        inputs: One or two per leaf that can be reached, shape (inputs, features), float32.
        reached: How many leaves an input was found for.
        dead: Leaves that no input can reach: the conditions on their path contradict each other.
    """

    inputs: NDArray[np.float32]
    reached: int
    dead: int


def leaves(node: "onnx.NodeProto", features: int, typical: NDArray[np.float32] | None = None) -> Leaves:
    """Inputs for each leaf of an `ai.onnx.ml` TreeEnsembleClassifier or TreeEnsembleRegressor.

    Args:
        node: The node; the inputs are those that it takes itself.
        features: How many numbers it takes.
        typical: Values for the features on which a path lays no condition, shape (features,); zeros when None.

    Returns:
        For each leaf one input on the lower and one on the upper edge of what its path asks of each feature, so that
        a threshold that moved by one float32 step, or `<` in the place of `<=`, sends one of them elsewhere.

    Raises:
        ValueError: the node is no such ensemble.
    """
    get = {one.name: one for one in node.attribute}
    if node.op_type not in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
        raise ValueError(f"{node.op_type} is no tree ensemble whose leaves are known here")
    trees = _column(get, "nodes_treeids")
    ids, modes = _column(get, "nodes_nodeids"), [one.decode() for one in get["nodes_modes"].strings]
    feature, value = _column(get, "nodes_featureids"), list(get["nodes_values"].floats)
    yes, no = _column(get, "nodes_truenodeids"), _column(get, "nodes_falsenodeids")
    place = {(tree, one): at for at, (tree, one) in enumerate(zip(trees, ids, strict=True))}
    base = np.zeros(features, dtype=np.float32) if typical is None else np.asarray(typical, dtype=np.float32)
    inputs: list[NDArray[np.float32]] = []
    reached, dead = 0, 0
    roots = [
        place[(tree, next(one for t, one in zip(trees, ids, strict=True) if t == tree))]
        for tree in dict.fromkeys(trees)
    ]
    for root in roots:
        stack: list[tuple[int, dict[int, tuple[float, float]]]] = [(root, {})]
        while stack:
            at, bounds = stack.pop()
            if modes[at] == _LEAF:
                made = _inside(base, bounds)
                inputs += made
                reached, dead = reached + bool(made), dead + (not made)
                continue
            for branch, taken in ((yes[at], True), (no[at], False)):
                narrowed = _narrowed(bounds, feature[at], modes[at], np.float32(value[at]), taken)
                stack.append((place[(trees[at], branch)], narrowed))
    table = np.stack(inputs) if inputs else np.zeros((0, features), dtype=np.float32)
    return Leaves(inputs=table, reached=reached, dead=dead)


def _column(attributes: dict[str, Any], name: str) -> list[int]:
    return list(attributes[name].ints)


def _narrowed(
    bounds: dict[int, tuple[float, float]], feature: int, mode: str, limit: np.float32, taken: bool
) -> dict[int, tuple[float, float]]:
    """The closed interval of float32 numbers that is left of a feature."""
    low, high = bounds.get(feature, (-np.inf, np.inf))
    below, above = float(np.nextafter(limit, np.float32(-np.inf))), float(np.nextafter(limit, np.float32(np.inf)))
    at = float(limit)
    inside = {
        ("BRANCH_LEQ", True): (low, min(high, at)), ("BRANCH_LEQ", False): (max(low, above), high),
        ("BRANCH_LT", True): (low, min(high, below)), ("BRANCH_LT", False): (max(low, at), high),
        ("BRANCH_GTE", True): (max(low, at), high), ("BRANCH_GTE", False): (low, min(high, below)),
        ("BRANCH_GT", True): (max(low, above), high), ("BRANCH_GT", False): (low, min(high, at)),
        ("BRANCH_EQ", True): (max(low, at), min(high, at)),
    }  # fmt: skip
    if (mode, taken) in inside:
        return {**bounds, feature: inside[mode, taken]}
    if (mode, taken) in (("BRANCH_EQ", False), ("BRANCH_NEQ", True)):
        return {**bounds, feature: (max(low, above), high)}
    if mode == "BRANCH_NEQ":
        return {**bounds, feature: (max(low, at), min(high, at))}
    raise ValueError(f"a tree branches by {mode}, which is not known")


def _inside(base: NDArray[np.float32], bounds: dict[int, tuple[float, float]]) -> list[NDArray[np.float32]]:
    """`base`, moved onto the lower edge of every condition, and onto the upper: one input where they are the same."""
    if any(low > high for low, high in bounds.values()):
        return []
    made: list[NDArray[np.float32]] = []
    for side in (0, 1):
        one = base.copy()
        for feature, edges in bounds.items():
            finite = [edge for edge in (edges[side], edges[1 - side]) if np.isfinite(edge)]
            if finite:
                one[feature] = np.float32(finite[0])
        if not made or not np.array_equal(made[0], one):
            made.append(one)
    return made
