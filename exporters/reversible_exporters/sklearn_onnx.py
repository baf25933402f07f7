"""How does a scikit-learn pipeline (.joblib) become ONNX?"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reversible.errors import MissingSDKError, SourceError
from reversible_exporters import onnx_file

if TYPE_CHECKING:
    import onnx

_OPSET = {"": 18, "ai.onnx.ml": 3}


class SklearnConverter:
    """Unpickles the pipeline - that runs whatever code came with the file - and writes it with skl2onnx.

    The graph answers what the endpoint answers: a classifier its probabilities alone, a regressor its prediction.
    """

    executes_vendor_code = True

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`."""
        return [name for name in names if name.endswith(".joblib")]

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`."""
        try:
            import skl2onnx
            import sklearn
            from skl2onnx.common.data_types import FloatTensorType
        except ModuleNotFoundError as error:
            raise MissingSDKError(error.name or "scikit-learn", extra="sklearn") from error
        model = _load(source)
        width = getattr(model, "n_features_in_", None)
        if width is None:
            raise SourceError(f"{source.name} holds a {type(model).__name__}, which is not a fitted scikit-learn model")
        classifies = sklearn.base.is_classifier(model)
        if classifies and not hasattr(model, "predict_proba"):
            raise SourceError(f"{source.name}: {type(model).__name__} gives no probabilities to compare")
        options = {id(model): {"zipmap": False}} if classifies else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside skl2onnx
            try:
                graph = skl2onnx.to_onnx(
                    model, initial_types=[("input", FloatTensorType([None, width]))], options=options,
                    target_opset=_OPSET,
                )  # fmt: skip
            except Exception as error:  # skl2onnx raises RuntimeError, NameError, TypeError and more
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
                raise SourceError(f"{source.name} cannot be converted to ONNX: {reason}") from error
        if classifies:
            _keep_only(graph, "probabilities")
        onnx_file.write(graph, target)

        def original(rows: onnx_file.Floats) -> onnx_file.Floats:
            answer = model.predict_proba(rows) if classifies else np.asarray(model.predict(rows)).reshape(len(rows), -1)
            answered: onnx_file.Floats = answer.astype(np.float32)
            return answered

        return {
            "framework": f"scikit-learn {sklearn.__version__}",
            "exporter": f"skl2onnx {skl2onnx.__version__}",
            "classes": [str(one) for one in model.classes_] if classifies else [],
            "pickled_members": [source.name],
            **onnx_file.describe(target),
            "self_check": onnx_file.compare(target, original, _rows(model, width)),
        }


def _load(source: Path) -> Any:
    import joblib

    try:
        return joblib.load(source)
    except Exception as error:  # unpickling a damaged or hostile file may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SourceError(f"{source.name} is not a whole joblib file: {reason}") from error


def _rows(model: Any, width: int) -> onnx_file.Floats:
    """Eight seeded inputs for the self-check, spread as the training data was where a scaler remembers it."""
    draw = np.random.default_rng(0).normal(0, 1, (8, width))
    steps = [step for _, step in getattr(model, "steps", [])]
    scaler = next(
        (step for step in steps if getattr(step, "mean_", None) is not None and hasattr(step, "scale_")), None
    )
    if scaler is not None and len(scaler.mean_) == width:
        draw = scaler.mean_ + scaler.scale_ * draw
    rows: onnx_file.Floats = draw.astype(np.float32)
    return rows


def _keep_only(model: "onnx.ModelProto", output: str) -> None:
    """Drop the other outputs and the nodes that only they need: the endpoint answers probabilities alone."""
    graph = model.graph
    kept = [value for value in graph.output if value.name == output]
    if not kept:
        raise SourceError(f"the converted model has no output {output}: {[value.name for value in graph.output]}")
    needed = {output}
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    nodes.reverse()
    for field, values in ((graph.output, kept), (graph.node, nodes), (graph.initializer, weights)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
