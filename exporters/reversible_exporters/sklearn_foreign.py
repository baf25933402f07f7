"""What do we leave to skl2onnx, one step at a time, in float64 where it can?

Its nodes join our graph; whatever it gets wrong is found when the whole is held against the original.
"""

from typing import Any

from reversible.errors import MissingSDKError
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, INT, ML_OPSET, OPSET, Graph, Tensor
from reversible_exporters.tabular_model_table import Table, UnknownStepError

_TYPES = {1: FLOAT, 11: DOUBLE, 7: INT}


def outputs(graph: Graph, step: Any, table: Table) -> dict[str, Tensor]:
    """What skl2onnx makes of a step, by the names that it gives the results.

    Raises:
        UnknownStepError: it cannot, in float64 nor in float32.
    """
    try:
        import skl2onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ModuleNotFoundError as error:
        raise MissingSDKError(error.name or "skl2onnx", extra="sklearn") from error
    value, reason = table.numbers(graph), ""
    options = {id(step): {"zipmap": False}} if hasattr(step, "classes_") else None
    for kind, of in ((DOUBLE, DoubleTensorType), (FLOAT, FloatTensorType)):
        try:
            made = skl2onnx.to_onnx(
                step, initial_types=[("input", of([None, value.width]))], options=options,
                target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            )  # fmt: skip
            _runnable(made)
        except Exception as error:  # noqa: BLE001 - skl2onnx raises RuntimeError, NameError, TypeError and more
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            continue
        graph.foreign.append(f"skl2onnx {skl2onnx.__version__} for {type(step).__name__}")
        return _embedded(graph, made, graph.cast(value, kind))
    raise UnknownStepError(f"{type(step).__name__} has no exact graph of ours, and skl2onnx says: {reason}")


def _runnable(model: Any) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _embedded(graph: Graph, model: Any, value: Tensor) -> dict[str, Tensor]:
    from onnx import compose

    inner = compose.add_prefix(model, f"foreign_{len(graph.foreign)}_").graph
    graph.embed(inner, {inner.input[0].name: value.name})
    found = {}
    for plain, one in zip(model.graph.output, inner.output, strict=True):
        kind = one.type.tensor_type.elem_type
        dims = one.type.tensor_type.shape.dim
        if kind in _TYPES:
            found[plain.name] = Tensor(one.name, _TYPES[kind], dims[1].dim_value if len(dims) > 1 else 1)
    return found
