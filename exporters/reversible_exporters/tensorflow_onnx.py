"""How does a TensorFlow or Keras model become ONNX?

A `.keras` or HDF5 file by Keras's own export; a SavedModel by its serving signature, with its variables frozen into the
graph, then tf2onnx. A SavedModel that today's loader refuses - those of 2022 keep their optimizer's slots as objects
that no longer load - is opened as TensorFlow 1 opened it: the graph and its variables, nothing else. TFLite stays as
it is.
"""

import contextlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reversible.errors import MissingSDKError, SourceError
from reversible_exporters import onnx_file
from reversible_exporters.tabular_model_graph import Array

_OPSET = 18
_KERAS = (".keras", ".h5", ".hdf5")
_BATCHES = (1, 3, 5)
_FREE = (7, 32)  # other free dimensions, one after the other: lengths that no trace has seen
_TOLERANCE = 1e-5  # of the larger of 1 and the largest output: float32 sums in another order stay ten times below
Ask = Callable[[Mapping[str, Array]], list[Array]]


class TensorFlowConverter:
    """Opens the model with TensorFlow - a SavedModel is a program, and runs - in an environment without PyTorch."""

    executes_vendor_code = True
    environment = "tensorflow"

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`."""
        folders = [str(Path(name).parent) for name in names if Path(name).name == "saved_model.pb"]
        files = [name for name in names if name.endswith((*_KERAS, ".tflite"))]
        return [*folders, *(name for name in files if not any(Path(name).is_relative_to(one) for one in folders))]

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`."""
        if source.suffix == ".tflite":
            raise SourceError(
                f"{source.name} is compiled for TensorFlow Lite: it stays in the bundle as it is, for LiteRT alone",
                hint="ask the vendor for the SavedModel or .keras file that it was made from",
            )
        os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")
        try:
            import keras
            import tensorflow as tf
            import tf2onnx
        except ModuleNotFoundError as error:
            raise MissingSDKError(error.name or "tensorflow", extra="tensorflow") from error
        for name, kind in (("object", object), ("bool", np.bool_), ("int", int)):
            if name not in vars(np):
                setattr(np, name, kind)  # tf2onnx 1.17 still says np.object
        with contextlib.redirect_stdout(io.StringIO()):  # both print while they work
            if source.suffix in _KERAS:
                ask, inputs, how = _keras(source, target)
            else:
                ask, inputs, how = _saved_model(source, target)
        return {
            "framework": f"tensorflow {tf.__version__}, keras {keras.__version__}",
            "exporter": f"{how}, tf2onnx {tf2onnx.__version__}",
            "classes": [],
            "pickled_members": [],
            **onnx_file.describe(target),
            "self_check": _compare(target, ask, inputs),
        }


def _keras(source: Path, target: Path) -> tuple[Ask, list[Any], str]:
    import keras
    import tensorflow as tf

    try:
        model = keras.models.load_model(source, compile=False, safe_mode=True)
    except Exception as error:  # a damaged or hostile file may raise anything
        raise SourceError(f"{source.name} is not a whole Keras model: {_line(error)}") from error
    if not getattr(model, "inputs", None):
        raise SourceError(f"{source.name}: the model does not say what it takes")
    shapes = [(tuple(one.shape), np.dtype(one.dtype)) for one in model.inputs]

    def ask(fed: Mapping[str, Array]) -> list[Array]:
        given = [tf.constant(one) for one in fed.values()]
        said = model(given[0] if len(given) == 1 else given, training=False)
        return [np.asarray(one) for one in tf.nest.flatten(said)]

    try:
        draw = np.random.default_rng(0)  # Keras exports only what was called once
        ask({str(place): _drawn(shape, kind, 1, _FREE[-1], draw) for place, (shape, kind) in enumerate(shapes)})
        model.export(target, format="onnx", verbose=False, opset_version=_OPSET)
    except SourceError:
        raise
    except Exception as error:  # tf2onnx raises ValueError, KeyError, RuntimeError and more
        raise SourceError(f"{source.name} cannot be converted to ONNX: {_line(error)}") from error
    return ask, shapes, f"keras.export {keras.__version__}"


def _saved_model(source: Path, target: Path) -> tuple[Ask, list[Any], str]:
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        loaded = tf.saved_model.load(str(source))
        function = loaded.signatures["serving_default"]
        frozen = convert_variables_to_constants_v2(function)
        graph, how = frozen.graph.as_graph_def(), "serving signature, frozen"
        given = [one.name for one in frozen.inputs]
        asked = [one.name for one in frozen.outputs]
    except Exception as first:  # noqa: BLE001 - the old way is tried next; it says what it finds
        try:
            graph, given, asked = _as_in_tensorflow_1(source)
        except Exception as error:  # as above
            raise SourceError(f"{source.name} is not a whole SavedModel: {_line(first)}; {_line(error)}") from error
        how = "TensorFlow 1 loader, frozen"
    try:
        tf2onnx.convert.from_graph_def(
            graph, input_names=given, output_names=asked, opset=_OPSET, output_path=str(target)
        )
    except Exception as error:  # tf2onnx raises ValueError, KeyError, RuntimeError and more
        raise SourceError(f"{source.name} cannot be converted to ONNX: {_line(error)}") from error
    wrapped = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
    pruned = wrapped.prune(
        [wrapped.graph.as_graph_element(one) for one in given], [wrapped.graph.as_graph_element(one) for one in asked]
    )
    inputs = [wrapped.graph.as_graph_element(one) for one in given]

    def ask(fed: Mapping[str, Array]) -> list[Array]:
        return [np.asarray(one) for one in pruned(*(tf.constant(one) for one in fed.values()))]

    shapes = [(tuple(one.shape.as_list()), np.dtype(one.dtype.as_numpy_dtype)) for one in inputs]
    return ask, shapes, how


def _as_in_tensorflow_1(source: Path) -> tuple[Any, list[str], list[str]]:
    """The frozen graph of the serving signature, and the names of its inputs and outputs."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_from_session_graph
    from tf2onnx import tf_loader

    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        meta = v1.saved_model.loader.load(session, ["serve"], str(source))
        signature = meta.signature_def["serving_default"]
        given = [one.name for _, one in sorted(signature.inputs.items())]
        asked = [one.name for _, one in sorted(signature.outputs.items())]
        nodes = [name.partition(":")[0] for name in asked]
        if any(node.op in ("Variable", "VariableV2") for node in session.graph_def.node):  # before resources
            return v1.graph_util.convert_variables_to_constants(session, session.graph_def, nodes), given, asked
        frozen = convert_variables_to_constants_from_session_graph(session, session.graph_def, nodes)
        graph = tf_loader.tf_optimize(given, asked, frozen)  # functions inside it are written out
    return graph, given, asked


def _compare(target: Path, ask: Ask, inputs: Sequence[Any]) -> dict[str, Any]:
    """Ask both sides, in batches and lengths that were never traced.

    Raises:
        SourceError: the file does not load, or answers something else.
    """
    session, draw, worst, count = onnx_file.opened(target), np.random.default_rng(0), 0.0, 0
    names = [one.name for one in session.get_inputs()]
    if len(names) != len(inputs):
        raise SourceError(f"the converted model takes {len(names)} inputs, the original {len(inputs)}")
    for batch in _BATCHES:
        for free in _FREE:
            fed = {
                name: _drawn(shape, kind, batch, free, draw) for name, (shape, kind) in zip(names, inputs, strict=True)
            }
            try:
                expected = ask(fed)
            except Exception as error:
                if free != _FREE[-1]:
                    continue  # not every length is long enough for every model: the last one is
                raise SourceError(f"the original refuses inputs of its own signature: {_line(error)}") from error
            try:
                said = session.run(None, fed)
            except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
                raise SourceError(f"the converted model refuses a batch of {batch}: {_line(error)}") from error
            for mine, theirs in zip(said, expected, strict=True):
                off = _off(mine, theirs)
                if not off <= _TOLERANCE:
                    raise SourceError(f"the converted model answers otherwise: off by {off:.3g} in a batch of {batch}")
                worst = max(worst, off)
            count += batch
    return {"inputs": count, "batch_sizes": list(_BATCHES), "max_abs_diff": worst, "tolerance": _TOLERANCE}


def _off(mine: Array, theirs: Array) -> float:
    """The largest difference over the larger of 1 and the largest output; infinity where the shapes differ."""
    if mine.shape != theirs.shape:
        return float("inf")
    scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    return float(np.abs(mine.astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0)) / scale


def _drawn(shape: Sequence[int | None], kind: Any, batch: int, free: int, draw: np.random.Generator) -> Array:
    size = [batch if place == 0 else one or free for place, one in enumerate(shape)]
    if kind.kind == "f":
        return draw.uniform(-1, 1, size).astype(kind)
    if kind.kind in "iu":
        return draw.integers(0, 8, size).astype(kind)
    raise SourceError(f"an input of the type {kind} is not handled")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
