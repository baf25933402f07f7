"""Which constants does an ONNX file hold?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

_FEW = 8  # numbers of an attribute: shorter lists are settings, not weights


def constants(model: "onnx.ModelProto", *, base_dir: str = "") -> dict[str, NDArray[Any]]:
    """Initializers, tensors inside nodes, and long lists of numbers such as a tree ensemble's, by name.

    Args:
        model: The file; of inner graphs and local functions too.
        base_dir: Where its external data lies.

    Returns:
        Numbers only: texts are no weights. Types that numpy does not have (bfloat16) come as their bits, uint16.
    """
    import onnx

    found: dict[str, NDArray[Any]] = {}

    def add(name: str, tensor: "onnx.TensorProto") -> None:
        if tensor.data_type == onnx.TensorProto.STRING:
            return
        array = onnx.numpy_helper.to_array(tensor, base_dir)
        if array.dtype.kind not in "fiub":
            array = array.view(f"<u{array.dtype.itemsize}") if array.dtype.itemsize in (1, 2, 4) else array
        found[name] = array

    for graph in _graphs(model):
        for tensor in graph.initializer:
            add(tensor.name, tensor)
    for node in all_nodes(model):
        for attribute in node.attribute:
            name = f"{node.name or node.output[0]}.{attribute.name}"
            if attribute.HasField("t"):
                add(node.output[0] if node.op_type == "Constant" else name, attribute.t)
            for values, kind in ((attribute.floats, np.float32), (attribute.ints, np.int64)):
                if len(values) >= _FEW:
                    found[name] = np.array(values, dtype=kind)
    return found


def all_nodes(model: "onnx.ModelProto") -> Iterator["onnx.NodeProto"]:
    """Every node: of the graph, of inner graphs, of local functions."""
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _graphs(model: "onnx.ModelProto") -> Iterator["onnx.GraphProto"]:
    stack = [model.graph]
    while stack:
        graph = stack.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                stack += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
