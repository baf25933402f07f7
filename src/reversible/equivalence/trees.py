"""Do the decision trees of the file ask what the original's asked?

Answers show neither `<` for `<=` nor an unvisited threshold, and a list of numbers does not say whose they are. So the
questions of every tree are recorded when the model leaves, as the original's framework says them, and held against the
nodes of the file one by one: which feature, which threshold, which way.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import archives
from reversible.equivalence.tensors import all_nodes

if TYPE_CHECKING:
    import onnx

NPZ = "trees.npz"
_FIELDS = ("tree", "leaf", "feature", "threshold", "left", "right", "missing_left")


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The trees that one operator of the file walks, their nodes one after the other: arrays of the shape (nodes,).

    Attributes:
        name: The operator's.
        strict: Goes left below a threshold, not at it.
        tree: The number of the tree.
        leaf: Whether the node is a leaf.
        feature: The column that it asks; any at a leaf.
        threshold: As the original holds it, in float64; any at a leaf.
        left, right: The numbers of the next nodes, among those of its tree; any at a leaf.
        missing_left: Whether a missing value goes left.
    """

    name: str
    strict: bool
    tree: NDArray[np.int64]
    leaf: NDArray[np.bool_]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]


def write(ensembles: Sequence[Ensemble]) -> bytes:
    """As `golden/trees.npz`."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {
        f"{number}.{field}": getattr(one, field) for number, one in enumerate(ensembles) for field in _FIELDS
    }
    names, strict = [one.name for one in ensembles], [one.strict for one in ensembles]
    np.savez_compressed(stream, names=np.array(names, dtype=np.str_), strict=np.array(strict, dtype=np.bool_), **arrays)
    return stream.getvalue()


def read(folder: Path) -> list[Ensemble] | None:
    """What was recorded in a `golden/` folder; None when nothing was.

    Raises:
        BundleError: it is damaged.
    """
    path = folder / NPZ
    if not path.exists():
        return None
    with archives.opened(path) as archive:
        names, strict = archive["names"].tolist(), archive["strict"].tolist()
        return [
            Ensemble(
                name=str(name), strict=bool(below),
                **{field: archive[f"{number}.{field}"] for field in _FIELDS},
            )
            for number, (name, below) in enumerate(zip(names, strict, strict=True))
        ]  # fmt: skip


def differences(ensembles: Sequence[Ensemble], model: "onnx.ModelProto") -> list[str]:
    """Every node of the file that asks something else than the original's, by its place and how."""
    there = {node.name: node for node in all_nodes(model) if node.op_type == "TreeEnsembleRegressor"}
    found = []
    for one in ensembles:
        if one.name not in there:
            found.append(f"{one.name}: its trees are not in the file as they left")
            continue
        found += [f"{one.name}, {place}" for place in _off(one, there.pop(one.name))]
    return found


def _off(one: Ensemble, node: "onnx.NodeProto") -> list[str]:
    here = _attributes(node)
    count = len(one.tree)
    lengths = {len(here[name]) for name in _NODES}
    if lengths != {count}:
        return [f"{sorted(lengths)} nodes, {count} in the original"]
    tree, number = here["nodes_treeids"], here["nodes_nodeids"]
    begins = np.concatenate([[True], one.tree[1:] != one.tree[:-1]])
    within = np.arange(count) - np.maximum.accumulate(np.where(begins, np.arange(count), 0))
    if not (np.array_equal(tree, one.tree) and np.array_equal(number, within)):
        return ["its nodes are numbered otherwise than the original's"]
    asks = ~one.leaf
    modes = np.array(here["nodes_modes"], dtype=object)
    wanted = np.where(one.leaf, "LEAF", "BRANCH_LT" if one.strict else "BRANCH_LEQ")
    exact = _told_apart(here["nodes_values"], one.threshold, strict=one.strict)
    checks: dict[str, NDArray[np.bool_]] = {
        "another operator": modes != wanted,
        "another feature": asks & (here["nodes_featureids"] != one.feature),
        "another threshold": asks & ~exact,
        "another node on the left": asks & (here["nodes_truenodeids"] != one.left),
        "another node on the right": asks & (here["nodes_falsenodeids"] != one.right),
        "missing values go the other way": asks
        & (here["nodes_missing_value_tracks_true"].astype(bool) != one.missing_left),
    }
    found = [
        f"tree {int(tree[at])}, node {int(number[at])}: {_how(what, at, modes, wanted, here, one)}"
        for what, off in checks.items() for at in np.flatnonzero(off).tolist()
    ]  # fmt: skip
    leaves = np.flatnonzero(one.leaf)
    numbered = np.concatenate([np.arange(int((one.tree[leaves] == of).sum())) for of in np.unique(one.tree)])
    said = (here["target_treeids"], here["target_nodeids"], here["target_ids"], here["target_weights"])
    if not all(
        np.array_equal(a, b) for a, b in zip(said, (tree[leaves], number[leaves], tree[leaves], numbered), strict=True)
    ):
        found.append("its leaves are numbered otherwise than the original's")
    return found


_SIGNS = {"BRANCH_LEQ": "<=", "BRANCH_LT": "<", "BRANCH_GT": ">", "BRANCH_GTE": ">=", "BRANCH_EQ": "==",
          "BRANCH_NEQ": "!=", "LEAF": "a leaf"}  # fmt: skip


def _how(what: str, at: int, modes: Any, wanted: Any, here: dict[str, Any], one: Ensemble) -> str:
    if what == "another operator":
        return f"{_SIGNS.get(str(modes[at]), modes[at])} for {_SIGNS[str(wanted[at])]}"
    if what == "another threshold":
        return f"threshold {float(here['nodes_values'][at])!r} for {float(one.threshold[at])!r}"
    if what == "another feature":
        return f"asks feature {int(here['nodes_featureids'][at])} for {int(one.feature[at])}"
    return what


def _told_apart(values: NDArray[Any], exact: NDArray[np.float64], *, strict: bool) -> NDArray[np.bool_]:
    """Whether a threshold of the file parts the numbers of its own type where the original's parts them.

    x <= t and x <= exact agree for every x of the coarser type when t is at most `exact` and the next number is above
    it; below a threshold, the other way round.
    """
    kind = values.dtype.type
    wide = values.astype(np.float64)
    with np.errstate(over="ignore"):
        beside = np.nextafter(values, kind(-np.inf if strict else np.inf)).astype(np.float64)
    between = (beside < exact) & (exact <= wide) if strict else (wide <= exact) & (exact < beside)
    return np.asarray(between | (wide == exact))


_NODES = (
    "nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_values", "nodes_featureids", "nodes_truenodeids",
    "nodes_falsenodeids", "nodes_missing_value_tracks_true",
)  # fmt: skip


def _attributes(node: "onnx.NodeProto") -> dict[str, Any]:
    import onnx

    found: dict[str, Any] = {
        name: np.zeros(0)
        for name in (*_NODES, "target_treeids", "target_nodeids", "target_ids", "target_weights")
    }  # fmt: skip
    for one in node.attribute:
        if one.strings:
            found[one.name] = [text.decode("utf-8", "replace") for text in one.strings]
        elif one.HasField("t"):
            found[one.name.removesuffix("_as_tensor")] = onnx.numpy_helper.to_array(one.t)
        elif one.floats:
            found[one.name] = np.array(one.floats, dtype=np.float32)
        elif one.ints:
            found[one.name] = np.array(one.ints, dtype=np.int64)
    return found
