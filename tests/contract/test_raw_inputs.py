"""Models are left, and judged, from what their endpoints really take: texts, several values, images."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import pyarrow.parquet as pq
import pytest
import raw_models

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.findings import Finding
from reversible.serving import ModelServer, ServedModel, replay
from reversible_exporters.sagemaker import SageMakerExporter
from reversible_samples.s3_servers import MiniStack
from reversible_samples.sagemaker_server import SageMaker
from reversible_verifiers.outputs import Outputs

for needed in ("boto3", "torch", "transformers", "tokenizers", "sklearn"):
    pytest.importorskip(needed)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the vendor and every conversion, on a busy machine

AT = datetime(2026, 11, 27, tzinfo=UTC)
NAMES = ("avis", "avis-bert", "dossiers", "tuiles")
GOLDEN: dict[str, dict[str, Any]] = {
    "avis": {"inputs": "s3://models/avis/inputs.parquet", "batch_size": 50},
    "avis-bert": {"inputs": "s3://models/avis/inputs.parquet", "batch_size": 16},
    "dossiers": {"count": 320, "batch_size": 32},
    "tuiles": {"count": 120},
}


def model(name: str) -> Asset:
    return Asset(source="models", kind=Kind.MODEL, name=name)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    """All four, recorded through InvokeEndpoint, exported, and their vendor gone."""
    root = tmp_path_factory.mktemp("raw")
    places = raw_models.write(root / "models")
    with ExitStack() as stack:
        store = stack.enter_context(MiniStack(root / "s3"))
        s3 = store.client()
        s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": store.region})
        for name, place in places.items():
            for file in ("model.tar.gz", "inputs.parquet"):
                if (place / file).exists():
                    s3.upload_file(str(place / file), "models", f"{name}/{file}")
        platform = stack.enter_context(
            SageMaker(
                root / "sagemaker", {name: f"s3://models/{name}/model.tar.gz" for name in places},
                models=root / "models", region=store.region, access_key=store.access_key, secret_key=store.secret_key,
            )
        )  # fmt: skip
        os.environ |= {"TEST_RAW_ACCESS": store.access_key, "TEST_RAW_SECRET": store.secret_key}
        given = {
            "region": store.region, "endpoint_url": platform.endpoint_url, "s3_endpoint_url": store.endpoint_url,
            "access_key": "${TEST_RAW_ACCESS}", "secret_key": "${TEST_RAW_SECRET}", "golden": GOLDEN,
        }  # fmt: skip
        exporter = SageMakerExporter("models", SageMakerExporter.Settings(**given))
        with BundleWriter(root / "bundle") as writer:
            exporter.begin([model(name) for name in NAMES], writer)
            for name in NAMES:
                exporter.export(model(name), writer)
                writer.put_witness(model(name), exporter.witness(model(name)))
                writer.close_asset(model(name), exporter="sagemaker", at=AT)
            made = writer.finish(about={"sources": []}, at=AT)
        exporter.close()
        for name in ("TEST_RAW_ACCESS", "TEST_RAW_SECRET"):
            os.environ.pop(name)
    return made


def measure(bundle: Bundle, name: str) -> dict[str, Finding]:
    found = {one.metric.removeprefix("model."): one for one in Outputs().verify(model(name), bundle)}
    for one in found.values():
        one.seen.format(**one.facts)
    return found


def number(finding: Finding) -> float:
    assert isinstance(finding.value, int | float), finding.error
    return finding.value


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_the_same_from_the_raw_input_to_the_decision(bundle: Bundle, name: str) -> None:
    bundle.check()

    found = measure(bundle, name)

    assert found["equivalence"].value in ("B", "N"), found["equivalence"]
    assert number(found["error_ratio_max"]) <= 10
    assert number(found["agreement_lb95"]) > 0.97
    assert number(found["inputs_compared"]) >= 120
    assert not found["agreement_lb95"].places


def test_every_value_has_its_name_its_type_and_its_words(bundle: Bundle) -> None:
    signatures = {name: bundle.document(model(name), "golden/manifest.json")["signature"] for name in NAMES}

    assert [(one["name"], one["type"]) for one in signatures["avis"]["outputs"]] == [
        ("label", "text"), ("probabilities", "float64"),
    ]  # fmt: skip
    assert signatures["avis-bert"]["asked_as"] == "inputs"
    assert [(one["name"], one["type"], one["shape"]) for one in signatures["dossiers"]["inputs"]] == [
        ("codes", "int64", [None, 6]), ("known", "bool", [None, 6]),
    ]  # fmt: skip
    assert [one["type"] for one in signatures["dossiers"]["outputs"]] == ["float32", "int64"]
    assert signatures["tuiles"]["inputs"] == [{"name": "image", "type": "bytes", "shape": [None], "column": "input"}]
    exchange = pq.read_table(bundle.folder(model("tuiles")) / "golden/requests.parquet").to_pylist()[0]
    assert exchange["request_type"] == "application/x-image"
    assert exchange["request"].startswith(b"\x89PNG")


def test_what_the_endpoint_refuses_of_a_probe_is_recorded_and_no_error(bundle: Bundle) -> None:
    folder = bundle.folder(model("avis-bert"))
    manifest = bundle.document(model("avis-bert"), "golden/manifest.json")

    refused = pq.read_table(folder / "golden/refused.parquet").to_pylist()

    assert manifest["refused_probes"] == len(refused) == 3
    assert {one["origin"] for one in refused} == {"probe: empty"}
    assert {one["status"] for one in refused} == {400}
    assert "an empty text has no answer" in refused[0]["said"]
    assert manifest["inputs"] > 720


@pytest.mark.parametrize("name", NAMES)
def test_a_server_made_of_the_bundle_takes_the_recorded_requests(bundle: Bundle, name: str) -> None:
    with ModelServer(ServedModel(bundle, model(name))) as server:
        found = replay(bundle, model(name), server.url)

    assert found is not None
    assert found.same


# --- what must be caught, and where ------------------------------------------------------------------------------


def change_json(path: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        document = json.loads((folder / path).read_bytes())
        before = json.dumps(document)
        change(document)
        assert json.dumps(document) != before
        (folder / path).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    return apply


def swap_labels(document: Any) -> None:
    document["labels"][0], document["labels"][2] = document["labels"][2], document["labels"][0]


def swap_words(document: Any) -> None:
    words = document["model"]["vocab"]
    words["est"], words["le"] = words["le"], words["est"]


def other_first(folder: Path) -> None:
    """The second output takes the smallest."""
    proto = onnx.load(str(folder / "model.onnx"))
    node = next(one for one in proto.graph.node if one.op_type == "ArgMax")
    node.op_type = "ArgMin"
    onnx.save(proto, str(folder / "model.onnx"))


def zero_row(folder: Path) -> None:
    """One row of the embedding is lost."""
    proto = onnx.load(str(folder / "model.onnx"))
    tensor = next(one for one in proto.graph.initializer if list(one.dims) == [40, 8])
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[17] = 0
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(proto, str(folder / "model.onnx"))


TERMS, TOKENS, IMAGE = "processing/text_terms.json", "processing/tokenizer.json", "processing/preprocessing.json"
Damage = tuple[str, Callable[[Path], None], str]
DAMAGES: dict[str, Damage] = {
    "case kept": ("avis", change_json(TERMS, lambda d: d.update(lowercase=False)), "text_terms.json"),
    "accents removed": ("avis", change_json(TERMS, lambda d: d.update(strip_accents="unicode")), "text_terms.json"),
    "a regular expression that knows no accents": (
        "avis", change_json(TERMS, lambda d: d.update(token_pattern="[a-zA-Z0-9_]{2,}")), "text_terms.json",
    ),
    "other labels": ("avis", change_json("model.json", swap_labels), ""),
    "tokenizer keeps case": (
        "avis-bert", change_json(TOKENS, lambda d: d["normalizer"].update(lowercase=False)), "tokenizer.json",
    ),
    "tokenizer keeps accents": (
        "avis-bert", change_json(TOKENS, lambda d: d["normalizer"].update(strip_accents=False)), "tokenizer.json",
    ),
    "two words swapped": ("avis-bert", change_json(TOKENS, swap_words), "tokenizer.json"),
    "other labels beside a score": ("avis-bert", change_json("model.json", swap_labels), ""),
    "another mean": (
        "tuiles", change_json(IMAGE, lambda d: d.update(mean=[0.4, 0.45, 0.51])), "preprocessing.json"
    ),
    "a second output that takes the smallest": ("dossiers", other_first, "first off at ArgMin"),
    "one lost row of an embedding": ("dossiers", zero_row, ""),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_before_or_behind_the_graph_fails_with_its_place(bundle: Bundle, tmp_path: Path, damage: str) -> None:
    name, change, place = DAMAGES[damage]
    shutil.copytree(bundle.root, tmp_path / "bundle")
    damaged = Bundle.open(tmp_path / "bundle")
    change(damaged.folder(model(name)))

    found = measure(damaged, name)

    assert found["equivalence"].value == "F"
    assert place in " ".join(found["equivalence"].places)
