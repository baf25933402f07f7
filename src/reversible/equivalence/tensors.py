"""Which constants does an ONNX file hold?"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError

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


def texts(model: "onnx.ModelProto") -> dict[str, NDArray[Any]]:
    """The lists of texts among the initializers (categories, labels), as `text_bytes` makes arrays of them."""
    import onnx

    return {
        tensor.name: text_bytes([one.decode("utf-8", "surrogateescape") for one in tensor.string_data])
        for graph in _graphs(model) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.STRING
    }  # fmt: skip


def text_bytes(listed: Iterable[str]) -> NDArray[Any]:
    """Texts as one array of bytes, uint8, a zero between two: what is looked for by its bits may be words too."""
    return np.frombuffer("\0".join(listed).encode("utf-8", "surrogateescape"), dtype=np.uint8)


def rules_bytes(rules: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The vocabulary, and the other rules, by which texts become numbers: each as one array of bytes."""
    others = json.dumps({key: value for key, value in rules.items() if key != "vocabulary"}, sort_keys=True)
    return {"vocabulary": text_bytes(map(str, rules["vocabulary"])), "rules": text_bytes([others])}


def rules_in(folder: Path) -> dict[str, NDArray[Any]]:
    """The same of every file of such rules in a `processing/` folder, by file and part.

    Raises:
        BundleError: a file is no JSON.
    """
    found: dict[str, NDArray[Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BundleError(f"processing/{path.name} cannot be read: {error}") from error
        if isinstance(document, dict) and isinstance(document.get("vocabulary"), list):
            found |= {f"processing/{path.name}, {part}": array for part, array in rules_bytes(document).items()}
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
