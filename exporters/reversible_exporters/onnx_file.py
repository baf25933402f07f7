"""How is an ONNX file written, and what must the report know of it?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reversible.equivalence import runtime
from reversible.errors import SourceError

if TYPE_CHECKING:
    import onnx

_LARGEST = 1 << 30  # bytes of weights inside model.onnx; protobuf ends at 2 GiB, so more goes to model.onnx.data


def write(model: "onnx.ModelProto", target: Path) -> None:
    """Write `target`, its weights inside when they fit and in `target`.data when not, without our machine's paths."""
    import onnx

    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        kept = [prop for prop in node.metadata_props if "stack_trace" not in prop.key]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    large = model.ByteSize() > _LARGEST
    onnx.save_model(model, str(target), save_as_external_data=large, location=f"{target.name}.data")


def describe(target: Path) -> dict[str, Any]:
    """What the report must know of the file: operator sets, domains in use, inputs and outputs."""
    import onnx

    model = onnx.load(str(target), load_external_data=False)
    own = {(function.domain, function.name) for function in model.functions}
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return {
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "domains": sorted({node.domain or "ai.onnx" for node in nodes if (node.domain, node.op_type) not in own}),
        "inputs": [_value(value) for value in model.graph.input],
        "outputs": [_value(value) for value in model.graph.output],
    }


def opened(target: Path, *, optimised: bool = True) -> Any:
    """The file in onnxruntime, on one thread.

    Raises:
        SourceError: the checker or the runtime refuses it.
    """
    import onnx

    try:
        onnx.checker.check_model(str(target), full_check=True)
        return runtime.session(target, runtime.Setting(optimised=optimised))
    except Exception as error:  # the checker's own exceptions derive from Exception alone
        raise SourceError(f"the converted model is not valid ONNX: {runtime.first_line(error)}") from error


def _value(value: "onnx.ValueInfoProto") -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]
    return {"name": value.name, "dtype": onnx.TensorProto.DataType.Name(tensor.elem_type).lower(), "shape": shape}
