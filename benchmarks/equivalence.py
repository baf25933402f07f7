"""What does it cost to verify a model against a stored golden set, beside running it?

    python benchmarks/equivalence.py [--inputs 3000] [--rounds 2] [--only CNN]

Plain onnxruntime (one session, every input once, in the vendor's batch size) against the whole measurement of
`outputs`: the same, a part again in other batch sizes, R against the stored reference, and the check that its floor
is no excuse; and, where it is installed, Polygraphy's run compared with its own stored answers (its threads are its
own: OMP_NUM_THREADS=1). In turns, in CPU seconds: on a shared machine wall time does not compare. A model of MiniLM's
size (22.7 M weights drawn from a seed) in batches of 16, and a small CNN one input at a time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from reversible.equivalence import ladder, reference, runtime
from reversible.equivalence.ratio import Recording
from reversible.golden import Column
from reversible.processing.answers import Source
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing
from reversible_verifiers import error_ratio, outputs
from reversible_verifiers.golden_answers import Golden

WORDS, WIDTH, INNER, HEADS, LAYERS, LENGTH = 30522, 384, 1536, 12, 6, 16


def transformer() -> onnx.ModelProto:
    """(n, 16) ids as float32 -> (n, 384): an encoder of MiniLM's shape, mean-pooled."""
    draw = np.random.default_rng(1)
    nodes: list[Any] = []
    tensors: list[Any] = []

    def weight(name: str, *shape: int, around: float = 0.0, spread: float = 0.05) -> str:
        tensors.append(numpy_helper.from_array(draw.normal(around, spread, shape).astype(np.float32), name))
        return name

    def node(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def dense(value: str, name: str, rows: int, columns: int) -> str:
        made = node("MatMul", [value, weight(f"{name}.weight", rows, columns)], f"{name}.product")
        return node("Add", [made, weight(f"{name}.bias", columns)], name)

    def level(value: str, name: str) -> str:
        scale, bias = weight(f"{name}.weight", WIDTH, around=1.0), weight(f"{name}.bias", WIDTH)
        return node("LayerNormalization", [value, scale, bias], name, axis=-1, epsilon=1e-12)

    for name, shape in (("split", [0, 0, HEADS, WIDTH // HEADS]), ("joined", [0, 0, WIDTH])):
        tensors.append(numpy_helper.from_array(np.array(shape), name))
    tensors.append(numpy_helper.from_array(np.float32((WIDTH // HEADS) ** -0.5), "scale"))
    ids = node("Cast", ["ids"], "whole", to=TensorProto.INT64)
    state = level(node("Gather", [weight("words", WORDS, WIDTH), ids], "embedded"), "start")
    for at in range(LAYERS):
        parts = {}
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            wide = node("Reshape", [dense(state, f"{at}.{part}", WIDTH, WIDTH), "split"], f"{at}.{part}.heads")
            parts[part] = node("Transpose", [wide], f"{at}.{part}.turned", perm=order)
        scores = node("Mul", [node("MatMul", [parts["q"], parts["k"]], f"{at}.qk"), "scale"], f"{at}.scores")
        mixed = node("MatMul", [node("Softmax", [scores], f"{at}.soft", axis=-1), parts["v"]], f"{at}.mixed")
        joined = node("Reshape", [node("Transpose", [mixed], f"{at}.back", perm=[0, 2, 1, 3]), "joined"], f"{at}.flat")
        state = level(node("Add", [dense(joined, f"{at}.out", WIDTH, WIDTH), state], f"{at}.sum"), f"{at}.level")
        inner = node("Gelu", [dense(state, f"{at}.up", WIDTH, INNER)], f"{at}.gelu")
        state = level(node("Add", [dense(inner, f"{at}.down", INNER, WIDTH), state], f"{at}.sum2"), f"{at}.level2")
    tensors.append(numpy_helper.from_array(np.array([1]), "axis"))
    node("ReduceMean", [state, "axis"], "answer", keepdims=0)
    return _model(nodes, tensors, ("ids", LENGTH), ("answer", WIDTH))


def cnn() -> onnx.ModelProto:
    """(n, 64) -> (n, 10): two convolutions and a head, 20 k weights."""
    draw = np.random.default_rng(2)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(draw.normal(0, 0.2, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Reshape", ["pixels", "image"], ["a"]),
        helper.make_node("Conv", ["a", "k1", "b1"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "k2", "b2"], ["d"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "head", "bias"], ["g"]),
        helper.make_node("Softmax", ["g"], ["answer"], axis=1),
    ]
    tensors = [
        numpy_helper.from_array(np.array([-1, 1, 8, 8]), "image"),
        *(weight("k1", 16, 1, 3, 3), weight("b1", 16), weight("k2", 16, 16, 3, 3), weight("b2", 16)),
        *(weight("head", 1024, 10), weight("bias", 10)),
    ]
    return _model(nodes, tensors, ("pixels", 64), ("answer", 10))


def _model(nodes: Any, tensors: Any, given: tuple[str, int], answer: tuple[str, int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, ["n", given[1]])],
        [helper.make_tensor_value_info(answer[0], TensorProto.FLOAT, ["n", answer[1]])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def golden(folder: Path, inputs: Any, batch: int, name: str) -> Golden:
    """What a vendor recorded: the model's own answers, one bit off here and there, and a stored reference."""
    answers = runtime.ask(runtime.session(folder / "model.onnx"), {name: inputs}, batch=batch)
    recorded = (answers * np.float32(1 + 1e-7)).astype(np.float32)
    stored = reference.Reference(
        rows=np.arange(len(inputs)), answers=answers.astype(np.float64),
        floor=np.full(len(inputs), 3e-7 * float(np.abs(answers).max())), source="port", about={},
    )  # fmt: skip
    (folder / "golden").mkdir()
    with (folder / "golden/floor.parquet").open("wb") as stream:
        reference.write(stored, stream, inputs_sha256=ladder.inputs_sha256({"input": inputs}))
    session = runtime.session(folder / "model.onnx")
    column = Column.of("input", inputs, column="input")
    processing = Processing(folder / "processing", runtime.fields(session.get_inputs()), [column.field])
    return Golden(
        asked=Asked([column], processing), name="output", source=Source(runtime.outputs(session)[0].name), number=0,
        outputs=recorded, labels=np.full(len(inputs), -1), origins=("drawn",) * len(inputs),
        batch_size=batch, spread=0.0, decisions_changed=0, witness_rows=np.zeros(0, np.int64),
        witness_outputs=np.zeros((0, answers.shape[1]), np.float32), labels_at_source=None,
        recording=Recording(digits=9, decimals=12),
    )  # fmt: skip


def cpu(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="MiniLM, or CNN")
    arguments = parser.parse_args()
    draw = np.random.default_rng(3)
    cases = {
        "MiniLM's size, batches of 16": (
            transformer(), draw.integers(0, WORDS, (arguments.inputs, LENGTH)).astype(np.float32), 16, "ids",
        ),
        "small CNN, one at a time": (
            cnn(), draw.uniform(0, 1, (arguments.inputs, 64)).astype(np.float32), 1, "pixels",
        ),
    }  # fmt: skip
    for title, (model, inputs, batch, name) in cases.items():
        if arguments.only not in title:
            continue
        with tempfile.TemporaryDirectory() as root:
            folder, path = Path(root), Path(root) / "model.onnx"
            onnx.save(model, str(path))
            recorded = golden(folder, inputs, batch, name)
            everybody = np.ones(len(inputs), dtype=bool)
            rungs = []

            def plain(path: Path = path, inputs: Any = inputs, batch: int = batch, name: str = name) -> None:
                runtime.ask(runtime.session(path), {name: inputs}, batch=batch)

            def ours(
                folder: Path = folder, recorded: Golden = recorded, agrees: Any = everybody, rungs: list[str] = rungs
            ) -> None:
                reruns = outputs._rerun(outputs._session(folder / "model.onnx"), (recorded,))
                found = error_ratio.measure(folder, recorded, reruns["output"], rule="argmax", agrees=agrees)
                rungs.append(str(found.standing.rung))

            works = {"plain": plain, "verified": ours}
            if (peer := polygraphy(path, inputs, batch, name)) is not None:
                works["polygraphy"] = peer
            rounds = [{what: cpu(work) for what, work in works.items()} for _ in range(arguments.rounds)]
            said = ", ".join(
                f"{what} {min(one[what] for one in rounds):.2f} s"
                f" ({statistics.median(one[what] / one['plain'] for one in rounds):.2f})" for what in works
            )  # fmt: skip
            print(f"{title}, {len(inputs)} inputs, rung {rungs[0]}, CPU (over plain): {said}", flush=True)


def polygraphy(path: Path, inputs: Any, batch: int, name: str) -> Callable[[], object] | None:
    """Polygraphy's run of the file, compared with its own stored answers; None where it is not installed."""
    try:
        from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
        from polygraphy.comparator import Comparator, CompareFunc
        from polygraphy.logger import G_LOGGER
    except ModuleNotFoundError:
        return None
    import onnxruntime

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    feeds = [{name: inputs[first : first + batch]} for first in range(0, len(inputs), batch)]
    onnxruntime.set_default_logger_severity(4)

    def run(runner: str) -> Any:
        return Comparator.run([OnnxrtRunner(SessionFromOnnx(str(path)), name=runner)], data_loader=feeds)

    stored = run("stored")

    def work() -> object:
        found = run("here")
        found.extend(stored)
        return bool(Comparator.compare_accuracy(found, compare_func=CompareFunc.simple(rtol=1e-5, atol=1e-5)))

    return work


if __name__ == "__main__":
    main()
