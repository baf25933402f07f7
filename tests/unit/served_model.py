"""A small served model and its bundle, made in a moment: one layer of each kind, weights drawn from a seed."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.equivalence import parameters_record, tensors
from reversible.interfaces import Witness
from reversible_exporters import golden_set, model_document, model_reference
from reversible_exporters.conversion import Conversion
from reversible_exporters.golden_questions import Questions
from reversible_exporters.model_archive import Member
from reversible_samples import model_container

ASSET = Asset(source="models", kind=Kind.MODEL, name="digits")
AT = datetime(2026, 11, 24, tzinfo=UTC)
LABELS = ["zero", "one", "two", "three", "four"]
COUNT = 300
Floats = NDArray[np.float32]
Predict = Callable[[Floats], Floats]


def graph() -> onnx.ModelProto:
    """(n, 64) pixels 0 to 16 -> (n, 5) probabilities, through Div, Conv, BatchNorm, LayerNorm, Gemm and Softmax."""
    draw = np.random.default_rng(3)

    def weights(name: str, *shape: int, spread: float = 1.0, around: float = 0.0) -> onnx.TensorProto:
        return numpy_helper.from_array(draw.normal(around, spread, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Div", ["pixels", "sixteen"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "image_shape"], ["image"]),
        helper.make_node("Conv", ["image", "kernel", "kernel_bias"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["maps", "g", "b", "mean", "variance"], ["normal"], epsilon=1e-5),
        helper.make_node("Relu", ["normal"], ["positive"]),
        helper.make_node("Reshape", ["positive", "flat_shape"], ["flat"]),
        helper.make_node("LayerNormalization", ["flat", "lg", "lb"], ["level"], axis=-1, epsilon=1e-5),
        helper.make_node("Gemm", ["level", "head", "head_bias"], ["scores"], transB=1),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    tensors = [
        numpy_helper.from_array(np.float32(16.0), "sixteen"),
        numpy_helper.from_array(np.array([-1, 1, 8, 8]), "image_shape"),
        numpy_helper.from_array(np.array([-1, 256]), "flat_shape"),
        weights("kernel", 4, 1, 3, 3, spread=0.3), weights("kernel_bias", 4, spread=0.1),
        weights("g", 4, around=1.0, spread=0.1), weights("b", 4, spread=0.1),
        weights("mean", 4, spread=0.1), numpy_helper.from_array(np.full(4, 0.05, np.float32), "variance"),
        weights("lg", 256, around=1.0, spread=0.1), weights("lb", 256, spread=0.1),
        weights("head", 5, 256, spread=0.2), weights("head_bias", 5, spread=0.2),
    ]  # fmt: skip
    made = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 5])],
        tensors,
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def endpoint(predict: Predict) -> golden_set.Ask:
    """The container's own decoding and encoding around a model, without the wire."""

    def ask(body: bytes, content_type: str) -> golden_set.Answer:
        content, kind = model_container.encode(predict(model_container.decode(body, content_type)), content_type)
        return golden_set.Answer(
            body=content, content_type=kind, status=200, latency_s=0.001, request_id="1", variant="AllTraffic"
        )

    return ask


def served(model: onnx.ModelProto) -> Predict:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def predict(rows: Floats) -> Floats:
        answer: Floats = session.run(None, {"pixels": rows})[0]
        return answer

    return predict


def questions(count: int = COUNT, *, copies: int = 1, labelled: bool = True) -> Questions:
    draw = np.random.default_rng(11)
    inputs = np.tile(draw.uniform(0, 16, (count, 64)).astype(np.float32), (copies, 1))
    truth = served(graph())(inputs).argmax(axis=1)
    truth[::10] = (truth[::10] + 1) % 5  # the model is wrong on every tenth
    return Questions.of(
        {"input": inputs},
        labels=tuple(int(one) if labelled else None for one in truth),
        origins=tuple("held-out" if number % 2 else "variation" for number in range(len(inputs))),
        sha256="0" * 64,
    )


def write(root: Path, *, asked: Questions | None = None, predict: Predict | None = None) -> Bundle:
    """The bundle that an honest export leaves."""
    asked = asked or questions()
    ask = endpoint(predict or served(graph()))
    originals = root.with_name(f"{root.name}-original")
    code, lock, licence = b"print('train')\n", b"numpy==2.4.0\n", b"SPDX-License-Identifier: MIT\n"
    card = {
        "version": "1.0.0", "owner": "ACME", "licence": "MIT", "labels": LABELS, "decision": "argmax",
        "training_data": {"reference": "scikit-learn 1.9, load_digits", "sha256": "a" * 64},
        "code": [{"path": "code/train.py", "sha256": hashlib.sha256(code).hexdigest()}],
        "parameters": {"seed": 3}, "declared_metrics": {"accuracy": {"value": 0.9, "on": "held-out"}},
    }  # fmt: skip
    contents = {
        "model.pt2": b"the vendor's own format", "code/train.py": code, "environment.lock": lock, "LICENSE": licence,
        "labels.json": json.dumps(LABELS).encode(), "model_card.json": json.dumps(card).encode(),
        "preprocessing.json": b'{"scaling": "value / 16"}',
    }  # fmt: skip
    members = []
    for name, content in contents.items():
        (originals / name).parent.mkdir(parents=True, exist_ok=True)
        (originals / name).write_bytes(content)
        members.append(Member(name=name, path=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content)))
    conversion = Conversion(
        converter="torch", executed_vendor_code=True, fence="namespace", attempts=(), counted=True,
        described={
            "framework": "torch", "exporter": "torch.onnx", "self_check": {}, "pickled_members": ["model.pt2"],
            "ir_version": 10, "opset": {"ai.onnx": 20}, "domains": ["ai.onnx"],
            "inputs": [{"name": "pixels", "dtype": "float", "shape": ["n", 64]}], "outputs": [],
        },
    )  # fmt: skip
    document = model_document.build(
        originals, members, conversion, version={"model_data_sha256": "b" * 64}, decision="argmax",
        has_evaluation_set=True,
    )  # fmt: skip
    writer = BundleWriter(root)
    for name, content in contents.items():
        with writer.part(f"{ASSET.folder}/original/{name}") as stream:
            stream.write(content)
    with writer.part(f"{ASSET.folder}/model.onnx") as stream:
        stream.write(graph().SerializeToString())
    weights = {f"net.{tensor.name}": numpy_helper.to_array(tensor) for tensor in graph().graph.initializer}
    recorded, _ = parameters_record.record(weights, tensors.constants(graph()))
    for name, content in recorded.items():
        with writer.part(f"{ASSET.folder}/golden/{name}") as stream:
            stream.write(content)
    writer.put_json(f"{ASSET.folder}/endpoint.json", {"endpoint": {"EndpointName": "digits"}})
    writer.put_json(f"{ASSET.folder}/model.json", document)
    golden_set.record(
        asked, ask, endpoint="digits", batch_size=64, about={"region": "eu-west-3"}, folder=ASSET.folder, into=writer
    )
    model_reference.put_tensors(folder=ASSET.folder, into=writer)
    answers, _ = golden_set.sample(asked, ask, endpoint="digits", count=40, seed="witness")
    facts = {"labels": LABELS, "members": {member.name: member.sha256 for member in members}}
    writer.put_witness(ASSET, Witness(method="asked again", facts=facts, tables={"answers": answers}))
    writer.close_asset(ASSET, exporter="sagemaker", at=AT)
    return writer.finish(about={"sources": []}, at=AT)


def change_model(bundle: Bundle, change: Callable[[onnx.ModelProto], None]) -> None:
    path = bundle.folder(ASSET) / "model.onnx"
    model = onnx.load(str(path))
    before = model.SerializeToString()
    change(model)
    assert model.SerializeToString() != before
    path.write_bytes(model.SerializeToString())


def change_tensor(name: str, change: Callable[[Any], Any]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == name:
                array = np.ascontiguousarray(change(numpy_helper.to_array(tensor).copy()))
                tensor.CopyFrom(numpy_helper.from_array(array, name))

    return apply


def change_json(bundle: Bundle, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle.folder(ASSET) / name
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
