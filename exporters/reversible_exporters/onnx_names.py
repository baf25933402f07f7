"""What are the inputs, outputs and free dimensions of a graph called?"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def rename(model: "onnx.ModelProto", *, values: Mapping[str, str], dims: Mapping[str, str]) -> None:
    """Give values and dimensions other names, wherever the graph and its inner graphs use them; in
    an expression of dimensions each of its symbols.

    A name that another value already has is freed first: that one is called as it was, with "_inner" behind.
    """
    wanted = {old: new for old, new in values.items() if old != new}
    taken = set(wanted.values())
    for graph in _graphs(model.graph):
        names = {name for node in graph.node for name in (*node.input, *node.output)}
        names |= {one.name for one in (*graph.initializer, *graph.input, *graph.output)}
        for name in sorted(names & taken - set(wanted)):
            wanted[name] = f"{name}_inner"
    for graph in _graphs(model.graph):
        for node in graph.node:
            node.input[:] = [wanted.get(name, name) for name in node.input]
            node.output[:] = [wanted.get(name, name) for name in node.output]
        for tensor in graph.initializer:
            tensor.name = wanted.get(tensor.name, tensor.name)
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = wanted.get(value.name, value.name)
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:  # "s70 + s89": each symbol has its own name
                    dim.dim_param = re.sub(r"[A-Za-z_]\w*", lambda found: dims.get(found[0], found[0]), dim.dim_param)


def _graphs(graph: "onnx.GraphProto") -> "Iterator[onnx.GraphProto]":
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _graphs(inner)
