"""Does a normalisation of the file add another epsilon than the original's?

An epsilon is no parameter and, where variances are near 1, below what float32 leaves open: neither bits nor answers
show that it was changed. It stands in the file all the same: as an attribute, or added before a square root.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reversible.equivalence.tensors import all_nodes, constants

if TYPE_CHECKING:
    import onnx

_NORMALISATIONS = {
    "BatchNormalization": 1e-5, "GroupNormalization": 1e-5, "InstanceNormalization": 1e-5, "LayerNormalization": 1e-5,
    "RMSNormalization": 1e-5, "LpNormalization": None, "MeanVarianceNormalization": None,
}  # fmt: skip # what the attribute is where it is not written: onnx.defs
_LARGEST = 1e-2  # a larger number before a root is a number
_ROOTS = ("Sqrt", "Pow", "Reciprocal")


def in_file(model: "onnx.ModelProto", *, base_dir: str = "") -> list[tuple[str, float]]:
    """Every epsilon of the file, as float32 says it, with the node that adds it.

    Args:
        model: The file.
        base_dir: Where its external data lies.
    """
    return [(place, float(np.float32(value))) for place, value in _found(model, base_dir)]


def _found(model: "onnx.ModelProto", base_dir: str) -> Iterator[tuple[str, float]]:
    nodes = list(all_nodes(model))
    small: dict[str, float] = {
        name: float(array.reshape(-1)[0])
        for name, array in constants(model, base_dir=base_dir).items()
        if array.size == 1 and array.dtype.kind == "f" and 0 < float(array.reshape(-1)[0]) <= _LARGEST
    }
    small |= _written(nodes)
    rooted = {node.input[0] for node in nodes if node.op_type in _ROOTS}
    for node in nodes:
        usual = _NORMALISATIONS.get(node.op_type)
        if usual is not None:
            said = [one.f for one in node.attribute if one.name == "epsilon"]
            yield _place(node), said[0] if said else usual
        elif node.op_type == "Add" and node.output[0] in rooted:
            for name in node.input:
                if name in small:
                    yield _place(node), small[name]


def _written(nodes: Sequence[Any]) -> dict[str, float]:
    """Scalars of Constant nodes that are an attribute, not a tensor."""
    return {
        node.output[0]: float(one.f)
        for node in nodes if node.op_type == "Constant"
        for one in node.attribute if one.name == "value_float" and 0 < one.f <= _LARGEST
    }  # fmt: skip


def foreign(allowed: Mapping[str, float], model: "onnx.ModelProto", *, base_dir: str = "") -> list[tuple[str, float]]:
    """The epsilons of the file that no module of the original adds, with their places.

    Args:
        allowed: The original's, by module.
        model: The file.
        base_dir: Where its external data lies.
    """
    known = {float(np.float32(value)) for value in allowed.values()}
    return [(place, value) for place, value in in_file(model, base_dir=base_dir) if value not in known]


def _place(node: "onnx.NodeProto") -> str:
    return f"{node.op_type} {node.name or node.output[0]}"
