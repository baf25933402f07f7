"""What does an ONNX file ask of the machine that opens it?

Read with protobuf alone: nothing is executed and no second file is touched. The answers decide whether it may be
run at all, so they are given before a runtime sees the file.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reversible.bundle import bag
from reversible.errors import BundleError

if TYPE_CHECKING:
    import onnx

OPEN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})  # specified by the ONNX project; anybody may implement them
_CODE = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX"})


@dataclass(frozen=True, kw_only=True)
class Graph:
    """`foreign` are operators outside the open domains ("com.microsoft:FusedMatMul"), local functions left out;
    `escapes` are external data outside the folder; `payloads` are strings that hold executable pickles."""

    ir_version: int
    opsets: tuple[str, ...]
    foreign: tuple[str, ...]
    external: tuple[str, ...]
    escapes: tuple[str, ...]
    payloads: tuple[str, ...]


def read(path: Path) -> Graph:
    """Look into the file.

    Raises:
        BundleError: it is no whole ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types

    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path.name} is missing")
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise BundleError(f"{path.name} is not a whole ONNX file: {error}") from error
    if not model.HasField("graph") or not model.opset_import:
        raise BundleError(f"{path.name} is not an ONNX file: it holds no graph")
    own = {(function.domain, function.name) for function in model.functions}
    nodes = [*_nodes(model.graph), *(inner for function in model.functions for inner in _walk(function.node))]
    foreign = {
        f"{node.domain}:{node.op_type}"
        for node in nodes
        if node.domain not in OPEN_DOMAINS and (node.domain, node.op_type) not in own
    }
    tensors = [*_tensors(model.graph), *(tensor for node in nodes for tensor in _constants(node))]
    locations = {_location(tensor) for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL}
    return Graph(
        ir_version=model.ir_version,
        opsets=tuple(sorted({f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import})),
        foreign=tuple(sorted(foreign)),
        external=tuple(sorted(locations)),
        escapes=tuple(sorted(place for place in locations if not _inside(path.parent, place))),
        payloads=tuple(sorted({where for where, content in _strings(nodes, tensors) if is_code(content)})),
    )


def must_be_runnable(path: Path) -> None:
    """Look into a file before a runtime sees it: what it needs lies in its folder, and it holds no code.

    Raises:
        BundleError: it does not; or it is no whole ONNX file.
    """
    graph = read(path)
    if graph.escapes or graph.payloads:
        raise BundleError(f"{path.name} is not run: it holds {', '.join((*graph.escapes, *graph.payloads))}")


def is_code(content: bytes) -> bool:
    """Whether the bytes are a pickle that calls something when it is opened (read opcode by opcode, never run)."""
    if len(content) < 4 or content[0] != 0x80 or content[1] > 5:
        return False
    try:
        return any(opcode.name in _CODE for opcode, _, _ in pickletools.genops(content))
    except ValueError:
        return False


def _nodes(graph: "onnx.GraphProto") -> Iterator["onnx.NodeProto"]:
    yield from _walk(graph.node)


def _walk(nodes: "Iterator[onnx.NodeProto]") -> Iterator["onnx.NodeProto"]:
    """Every node, those of inner graphs (If, Loop, Scan) too."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _walk(inner.node)


def _tensors(graph: "onnx.GraphProto") -> Iterator["onnx.TensorProto"]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _constants(node: "onnx.NodeProto") -> Iterator["onnx.TensorProto"]:
    for attribute in node.attribute:
        yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)


def _strings(nodes: "list[onnx.NodeProto]", tensors: "list[onnx.TensorProto]") -> Iterator[tuple[str, bytes]]:
    for node in nodes:
        for attribute in node.attribute:
            for content in (attribute.s, *attribute.strings):
                yield f"attribute {attribute.name} of {node.op_type} {node.name}".strip(), content
    for tensor in tensors:
        for content in (*tensor.string_data, tensor.raw_data[: 1 << 20]):
            yield f"tensor {tensor.name}", content


def _location(tensor: "onnx.TensorProto") -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _inside(folder: Path, location: str) -> bool:
    """Whether external data is a plain file beside the model: no "..", no absolute path, no link."""
    return bag.is_safe(location) and not (folder / location).is_symlink()
