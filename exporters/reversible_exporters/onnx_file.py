"""Is the ONNX file that a converter wrote good enough to leave with?

A first look, beside the original, in the converter's own process: the checker passes, a runtime loads it, and it
answers as the original does, in batch sizes that the conversion never saw. The destination looks again, alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import SourceError

if TYPE_CHECKING:
    import onnx

Floats = NDArray[np.float32]
_TOLERANCE = 1e-4  # of the largest output: float32 sums in another order stay a hundred times below
_BATCHES = (1, 3, 8)
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


def compare(target: Path, original: Callable[[Floats], Floats], inputs: Floats) -> dict[str, Any]:
    """Ask the file what the original was asked, in several batch sizes.

    Args:
        target: The ONNX file; its first output is the answer.
        original: (rows, ...) -> (rows, outputs), float32, in the original framework.
        inputs: At least 8 rows, float32.

    Returns:
        The number of inputs asked and the largest difference, in the output's unit.

    Raises:
        SourceError: the file is not valid, does not load, or answers something else.
    """
    import onnx
    import onnxruntime

    try:
        onnx.checker.check_model(str(target), full_check=True)
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
        raise SourceError(f"the converted model is not valid ONNX: {_first_line(error)}") from error
    name = session.get_inputs()[0].name
    worst = 0.0
    for size in _BATCHES:
        expected = original(inputs[:size])
        try:
            answer = session.run(None, {name: inputs[:size]})[0]
        except Exception as error:  # as above
            raise SourceError(f"the converted model refuses a batch of {size}: {_first_line(error)}") from error
        if answer.shape != expected.shape:
            raise SourceError(f"the converted model answers {answer.shape}, the original {expected.shape}")
        scale = max(1.0, float(np.nan_to_num(np.abs(expected)).max()))
        difference = float(np.max(np.abs(answer.astype(np.float64) - expected.astype(np.float64))))
        if not difference <= _TOLERANCE * scale:  # NaN too
            raise SourceError(f"the converted model answers otherwise: off by {difference:.3g} in a batch of {size}")
        worst = max(worst, difference)
    return {"inputs": sum(_BATCHES), "batch_sizes": list(_BATCHES), "max_abs_diff": worst}


def _value(value: "onnx.ValueInfoProto") -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]
    return {"name": value.name, "dtype": onnx.TensorProto.DataType.Name(tensor.elem_type).lower(), "shape": shape}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
