"""The ONNX backend test data that ships in the `onnx` package, and what the second engine makes of it."""

import importlib
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader, runner

from reversible.errors import EvaluatorError
from reversible.evaluator import Evaluator

DATA = Path(loader.DATA_DIR)
ON_DISK = ("simple", "pytorch-operator", "pytorch-converted")


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    model: onnx.ModelProto
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def on_disk() -> Iterator[Case]:
    """The models of data/simple, data/pytorch-operator and data/pytorch-converted with their recorded tensors."""
    for kind in ON_DISK:
        for case in loader.load_model_tests(kind=kind):
            folder = Path(case.model_dir)
            model = onnx.load_model(str(folder / "model.onnx"))
            sets = []
            for one in sorted(folder.glob("test_data_set_*")):
                sets.append((_tensors(one, "input", model.graph.input), _tensors(one, "output", model.graph.output)))
            yield Case(case.name, kind, model, sets, case.rtol, case.atol)


def _tensors(folder: Path, what: str, values: Any) -> list[Any]:
    found = []
    for at, value in enumerate(values):
        file = folder / f"{what}_{at}.pb"
        if not file.exists():
            break
        if value.type.HasField("sequence_type"):
            sequence = onnx.SequenceProto.FromString(file.read_bytes())
            found.append(list(numpy_helper.to_list(sequence)))
        else:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())))
    return found


def light() -> Iterator[Case]:
    """Nine well-known CNNs with made-up weights; the input is made by the runner's own function."""
    for file in sorted((DATA / "light").glob("*.onnx")):
        model = onnx.load_model(str(file))
        given = {one.name for one in model.graph.initializer}
        inputs = [runner.Runner.generate_dummy_data(one) for one in model.graph.input if one.name not in given]
        expected = numpy_helper.to_array(
            onnx.TensorProto.FromString(file.with_name(f"{file.stem}_output_0.pb").read_bytes())
        )
        yield Case(file.stem, "light", model, [(inputs, [expected])], 1e-3, 1e-7)


def of_nodes(modules: Iterable[str] = ()) -> Iterator[Case]:
    """The cases that `onnx.backend.test.case.node` makes when imported: of some modules, or all (half a minute)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            importlib.import_module(f"onnx.backend.test.case.node.{module}")
        if not modules:
            loader.load_node_model_tests()
        from onnx.backend.test.case.node import _NodeTestCases
    for case in _NodeTestCases:
        sets = [([runner._normalize_tensor(one) for one in inputs], [runner._normalize_tensor(one) for one in outputs])
                for inputs, outputs in case.data_sets]  # fmt: skip
        yield Case(case.name, "node", case.model, sets, case.rtol, case.atol)


def fault(case: Case, precision: type) -> str:
    """Nothing when the engine gives what the data say, within the tolerance that they declare; otherwise what is wrong.

    In float64 a float is compared whatever its type; in float32 the type must be the declared one.
    """
    try:
        engine = Evaluator(case.model, precision=precision)
        for inputs, expected in case.sets:
            names = [one.name for one in engine.inputs]
            found = engine.run(dict(zip(names, inputs, strict=False)))
            for value, wanted in zip(engine.outputs, expected, strict=True):
                message = difference(found[value.name], wanted, case, declared=precision is np.float32)
                if message:
                    return f"{value.name}: {message}"
    except EvaluatorError as error:
        return error.message
    return ""


def difference(found: Any, wanted: Any, case: Case, *, declared: bool) -> str:
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return "another length of a sequence"
        parts = (difference(one, two, case, declared=declared) for one, two in zip(found, wanted, strict=True))
        return next((one for one in parts if one), "")
    wanted = np.asarray(wanted)
    if found.shape != wanted.shape:
        return f"shape {found.shape}, not {wanted.shape}"
    floats = wanted.dtype.kind == "f" or wanted.dtype.name == "bfloat16"
    if found.dtype != wanted.dtype and (declared or not floats):
        return f"type {found.dtype}, not {wanted.dtype}"
    if wanted.dtype.kind in "OUSb":
        return "" if np.array_equal(found, wanted) else "another value"
    found = found.astype(wanted.dtype) if floats else found  # in float64: rounded once, to the declared type
    rtol = max(case.rtol, 2**-6) if wanted.dtype.name == "bfloat16" else case.rtol  # two ulp, as onnx's runner does
    one, two = (x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) for x in (found, wanted))
    same = np.isclose(one, two, rtol=rtol, atol=case.atol, equal_nan=True)
    return "" if same.all() else f"{np.sum(~same)} of {same.size} values differ"


def operators(model: onnx.ModelProto) -> set[tuple[str, str]]:
    """(domain, operator) of all nodes, those of subgraphs and functions too."""
    found: set[tuple[str, str]] = set()
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while nodes:
        node = nodes.pop()
        found.add((node.domain, node.op_type))
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                nodes.extend(graph.node)
    return found


BOTH = ("float32", "float64")
# What does not pass, by the case's name and in which precision, and why.
NOT_PASSED: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (r"bernoulli|training_dropout(_default)?(_mask)?$", BOTH, "draws random numbers: there is no result to compare"),
    (r"^test_(adagrad|adam|momentum|nesterov|gradient_of)", BOTH, "ai.onnx.preview.training: nothing is trained here"),
    (r"image_decoder", BOTH, "decodes image files: that happens before a model, and needs an image library"),
    (
        r"resize_downsample_scales_(linear|cubic)_align_corners$",
        BOTH,
        "the data divide by a length that is no whole number; the text, onnxruntime and torch by the resized length",
    ),
    (r"attention_4d_causal_fp16_expanded", ("float32",), "the data round to float16 in other places: 2 of 192 values"),
    (r"bitcast_(2d_|scalar_)?float|bitcast_int32_to_float32", ("float64",), "asks for the bits of a declared float"),
    (r"dft_inverse", ("float64",), "the data hold their own rounding, 1.9e-7 where 0 is right, above their tolerance"),
    (r"dynamicquantizelinear(_expanded)?$", ("float64",), "a tie that only rounding to float32 makes: 26 for 25"),
)


def reason(case: Case, precision: type) -> str | None:
    """Why a case is known not to pass, None when it should."""
    for pattern, precisions, why in NOT_PASSED:
        if precision.__name__ in precisions and re.search(pattern, case.name):
            return why
    return None
