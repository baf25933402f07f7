"""A real model platform is left through unmodified boto3: whole, faithful, and with every refusal named."""

import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import SourceError, UsageError
from reversible.testing import mutations
from reversible_exporters.sagemaker import SageMakerExporter
from reversible_samples.models import SAMPLES
from reversible_samples.s3_servers import MiniStack
from reversible_samples.sagemaker_server import SageMaker
from reversible_verifiers.model_package import ModelPackage
from reversible_verifiers.outputs import Outputs

boto3 = pytest.importorskip("boto3")
pytest.importorskip("torch")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the vendor and every conversion, on a busy machine

AT = datetime(2026, 11, 24, tzinfo=UTC)
SECRETS = ("TEST_SM_ACCESS", "TEST_SM_SECRET")
_PATIENCE_S = 250.0  # of the vendor's side: longer than the exporter waits, even were it to ask three times
FAULTS = ("broken", "nonsense", "silent", "fickle", "ragged", "text")


class Faulty(ThreadingHTTPServer):
    """Containers that are there and wrong, each in its own way, by the path's first part."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _FaultyHandler)
        self.released = threading.Event()
        self.asked: Counter[str] = Counter()  # fault -> requests
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, fault: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{fault}"

    def close(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class _FaultyHandler(BaseHTTPRequestHandler):
    server: Faulty
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.path.split("/")[1]
        self.server.asked[fault] += 1
        if fault == "silent":
            self.server.released.wait(_PATIENCE_S)
            self.close_connection = True
            return
        count = len(json.loads(body)["instances"]) if body.startswith(b"{") else 1
        status, answer = _fault(fault, count)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _fault(fault: str, count: int) -> tuple[int, bytes]:
    match fault:
        case "broken":
            return 500, b"RuntimeError: CUDA out of memory\nTraceback ..."
        case "nonsense":
            return 200, b"<html>Welcome to nginx!</html>"
        case "text":
            return 200, json.dumps({"predictions": [["0.5", "0.5"]] * count}).encode()
        case "ragged":
            return 200, json.dumps({"predictions": [[0.5, 0.5]] * (count - 1) + [[1.0]]}).encode()
        case _:
            share = random.random()
            return 200, json.dumps({"predictions": [[share, 1 - share]] * count}).encode()


class Vendor:
    """The model platform and its S3, with the keys that open them."""

    def __init__(self, store: MiniStack, platform: SageMaker, faulty: Faulty) -> None:
        self.store, self.platform, self.faulty = store, platform, faulty

    def exporter(self, *endpoints: str, **settings: Any) -> SageMakerExporter:
        golden = {name: {"inputs": f"s3://models/{name}/golden-inputs.parquet"} for name in endpoints}
        given = {
            "region": self.store.region, "endpoint_url": self.platform.endpoint_url,
            "s3_endpoint_url": self.store.endpoint_url, "access_key": "${TEST_SM_ACCESS}",
            "secret_key": "${TEST_SM_SECRET}", "golden": golden, **settings,
        }  # fmt: skip
        return SageMakerExporter("models", SageMakerExporter.Settings(**given))


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    root = tmp_path_factory.mktemp("vendor")
    names = ("digits-transformer", "tumour-pipeline")
    with ExitStack() as stack:
        store = stack.enter_context(MiniStack(root / "s3"))
        s3 = store.client()
        s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": store.region})
        for name in names:
            for file in SAMPLES[name].save(root / "models" / name):
                s3.upload_file(str(file), "models", f"{name}/{file.name}")
        few = pq.read_table(root / "models/tumour-pipeline/golden-inputs.parquet").slice(0, 40)
        pq.write_table(few, root / "few.parquet")
        for name in FAULTS:
            s3.upload_file(str(root / "few.parquet"), "models", f"{name}/golden-inputs.parquet")
        faulty = Faulty()
        stack.callback(faulty.close)
        endpoints: dict[str, str | None] = {name: f"s3://models/{name}/model.tar.gz" for name in names}
        endpoints |= dict.fromkeys(FAULTS, "s3://models/tumour-pipeline/model.tar.gz")
        endpoints |= {"closed-model": None, "lost-model": "s3://models/lost/model.tar.gz"}
        elsewhere = {name: faulty.url(name) for name in (*FAULTS, "closed-model", "lost-model")}
        platform = stack.enter_context(
            SageMaker(
                root / "sagemaker", endpoints, models=root / "models", region=store.region,
                access_key=store.access_key, secret_key=store.secret_key, elsewhere=elsewhere, timeout_s=_PATIENCE_S,
            )
        )  # fmt: skip
        os.environ |= {"TEST_SM_ACCESS": store.access_key, "TEST_SM_SECRET": store.secret_key}
        yield Vendor(store, platform, faulty)
        for name in SECRETS:
            os.environ.pop(name, None)


def model(name: str) -> Asset:
    return Asset(source="models", kind=Kind.MODEL, name=name)


def leave(exporter: SageMakerExporter, assets: list[Asset], root: Path) -> Bundle:
    with BundleWriter(root) as writer:
        for asset in assets:
            exporter.export(asset, writer)
            writer.put_witness(asset, exporter.witness(asset))
            writer.close_asset(asset, exporter="sagemaker", at=AT)
        bundle = writer.finish(about={"sources": []}, at=AT)
    exporter.close()
    return bundle


@pytest.fixture(scope="module")
def bundle(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    names = ("digits-transformer", "tumour-pipeline")
    exporter = vendor.exporter(*names)
    return leave(exporter, [model(name) for name in names], tmp_path_factory.mktemp("bundle") / "bundle")


def values(bundle: Bundle, name: str) -> dict[str, Any]:
    found = [*Outputs().verify(model(name), bundle), *ModelPackage().verify(model(name), bundle)]
    return {finding.metric.removeprefix("model."): finding.value for finding in found}


# --- the whole way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits-transformer", "tumour-pipeline"])
def test_a_model_leaves_and_decides_the_same_elsewhere(bundle: Bundle, name: str) -> None:
    bundle.check()

    found = values(bundle, name)

    assert found["inputs_compared"] >= 3000
    assert found["agreement_lb95"] >= 0.999
    assert found["max_abs_diff"] < 1e-5
    assert found["equivalence"] in ("B", "N")
    assert found["error_ratio_median"] <= 3
    assert found["error_ratio_max"] <= 10
    assert abs(found["metric_delta_points"]) < 1e-9
    assert found["declared_metric_gap_points"] < 0.01
    assert found["artifacts_missing"] == 0
    assert found["open_format_pct"] == 100
    assert found["licence_known_pct"] == 100
    assert found["unsafe_payloads"] == 0
    assert found["lineage_resolved_pct"] == 100


@pytest.mark.parametrize(("name", "engine"), [("digits-transformer", "torch "), ("tumour-pipeline", "scikit-learn ")])
def test_the_reference_is_the_original_and_the_report_says_so(bundle: Bundle, name: str, engine: str) -> None:
    floor = pq.read_schema(bundle.folder(model(name)) / "golden/floor.parquet")
    about = json.loads(floor.metadata[b"reversible"])
    said = {finding.metric: finding for finding in Outputs().verify(model(name), bundle)}["model.error_ratio_max"]

    assert about["source"] == "original"
    assert about["engine"].startswith(engine)
    assert "against the original in float64" in said.seen
    assert said.coverage == 1.0


@pytest.mark.parametrize("epsilon", [1e-3, 1e-4])
def test_a_wrong_layer_norm_epsilon_is_found(bundle: Bundle, tmp_path: Path, epsilon: float) -> None:
    shutil.copytree(bundle.root, tmp_path / "bundle")
    mutations.change_epsilon(tmp_path / "bundle", "digits-transformer", epsilon=epsilon)

    found = values(Bundle.open(tmp_path / "bundle"), "digits-transformer")

    assert found["max_abs_diff"] > 1e-3
    assert found["agreement_lb95"] < 0.999
    assert found["equivalence"] == "F"


@pytest.mark.parametrize("epsilon", [1e-3, 2e-5])
def test_the_operator_whose_epsilon_is_wrong_is_named(bundle: Bundle, tmp_path: Path, epsilon: float) -> None:
    shutil.copytree(bundle.root, tmp_path / "bundle")
    mutations.change_epsilon(tmp_path / "bundle", "digits-transformer", epsilon=epsilon)

    findings = Outputs().verify(model("digits-transformer"), Bundle.open(tmp_path / "bundle"))
    found = next(one for one in findings if one.metric == "model.error_ratio_max")

    assert isinstance(found.value, float)
    assert found.value > 10
    assert found.places[0].startswith("first off at LayerNormalization ")


def test_every_word_of_the_endpoint_is_kept(bundle: Bundle) -> None:
    folder = bundle.folder(model("tumour-pipeline"))

    exchanges = pq.read_table(folder / "golden/requests.parquet").to_pylist()
    manifest = bundle.document(model("tumour-pipeline"), "golden/manifest.json")

    assert sum(exchange["count"] for exchange in exchanges) == manifest["inputs"]
    assert all(
        exchange["status"] == 200 and exchange["request_id"] and exchange["latency_ms"] > 0 for exchange in exchanges
    )
    assert json.loads(exchanges[0]["response"])["predictions"]
    assert manifest["determinism"]["identical"]
    assert len(manifest["determinism"]["indexes"]) == 20
    assert manifest["region"] == "eu-west-3"
    assert manifest["endpoint_config"] == "tumour-pipeline-config"


def test_any_onnx_runtime_can_replay_it(bundle: Bundle) -> None:
    import onnxruntime

    folder = bundle.folder(model("tumour-pipeline"))
    asked, expected = (
        onnx.numpy_helper.to_array(onnx.TensorProto.FromString((folder / f"test_data_set_0/{name}.pb").read_bytes()))
        for name in ("input_0", "output_0")
    )

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: asked})

    np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-5)


def test_the_vendor_s_files_are_kept_as_they_were(bundle: Bundle) -> None:
    document = bundle.document(model("digits-transformer"), "model.json")

    members = bundle.witness(model("digits-transformer")).facts["members"]

    assert {one["name"]: one["sha256"] for one in document["originals"]} == members
    assert document["executed_vendor_code"] is True
    assert document["converter"]["attempts"] == []
    assert document["lineage"]["version"]["model_data"] == "s3://models/digits-transformer/model.tar.gz"


def test_no_secret_enters_the_bundle(vendor: Vendor, bundle: Bundle) -> None:
    exporter = vendor.exporter("tumour-pipeline")
    secrets = [vendor.store.secret_key.encode(), vendor.store.access_key.encode()]

    held = [
        path for path in bundle.root.rglob("*") if path.is_file() and any(one in path.read_bytes() for one in secrets)
    ]

    assert not held
    assert vendor.store.secret_key not in f"{exporter.settings!r}{vars(exporter)!r}"


def test_the_witness_took_another_route_to_the_same_numbers(bundle: Bundle) -> None:
    witness = bundle.witness(model("tumour-pipeline"))

    assert witness.facts["asked_as"] == "text/csv"
    assert witness.facts["answers"] == 200
    assert witness.facts["labels"] == ["malignant", "benign"]
    recorded = pq.read_table(bundle.folder(model("tumour-pipeline")) / "golden/outputs.parquet")["output"].to_pylist()
    for index, output in zip(
        *(witness.tables["answers"][name].to_pylist() for name in ("index", "output")), strict=True
    ):
        assert output == pytest.approx(recorded[index], abs=1e-6)


def test_a_second_export_takes_up_what_is_there(vendor: Vendor, tmp_path: Path) -> None:
    exporter, asset = vendor.exporter("tumour-pipeline"), model("tumour-pipeline")
    with BundleWriter(tmp_path / "bundle") as writer:
        exporter.export(asset, writer)
    files = sorted((tmp_path / "bundle.partial").rglob("*.*"))
    before = {path: path.stat().st_mtime_ns for path in files if path.name != "journal.jsonl"}

    with BundleWriter(tmp_path / "bundle") as writer:
        exporter.export(asset, writer)

    assert {path: path.stat().st_mtime_ns for path in before} == before


# --- what is there ----------------------------------------------------------------------------------------------


def test_every_endpoint_is_named_once_with_the_reason_why_one_cannot_leave(vendor: Vendor) -> None:
    assets = list(vendor.exporter().discover())

    assert [asset.name for asset in assets] == sorted(vendor.platform.endpoints)
    assert all(asset.kind is Kind.MODEL for asset in assets)
    obstacles = {asset.name: asset.obstacle for asset in assets if asset.obstacle}
    assert list(obstacles) == ["closed-model"]
    assert "keeps its model data" in str(obstacles["closed-model"])
    assert list(vendor.exporter().discover()) == assets


def test_the_listing_is_paged_to_its_end(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reversible_samples.sagemaker_server._LONGEST_PAGE", 3)

    assert len(list(vendor.exporter().discover())) == len(vendor.platform.endpoints)


def test_a_golden_set_for_an_endpoint_that_is_not_there_is_an_error_of_the_plan(vendor: Vendor) -> None:
    with pytest.raises(UsageError, match="golden set for nowhere") as refused:
        list(vendor.exporter("nowhere").discover())

    assert refused.value.hint.startswith("aws sagemaker list-endpoints")


def test_check_says_for_each_endpoint_what_works_and_what_to_type(vendor: Vendor) -> None:
    answers = list(vendor.exporter("tumour-pipeline", "broken", "nowhere").check())

    seen = {answer.subject: answer for answer in answers}
    assert seen["sagemaker:ListEndpoints"].ok
    assert seen["answer of tumour-pipeline"].ok
    assert "2 numbers" in seen["answer of tumour-pipeline"].seen
    assert not seen["answer of broken"].ok
    assert "500" in seen["answer of broken"].seen
    assert not seen["golden set of nowhere"].ok
    assert not seen["golden set of digits-transformer"].ok
    assert not seen["model data of lost-model"].ok
    assert all(answer.hint for answer in answers if not answer.ok)


def test_without_a_golden_set_the_model_leaves_and_nothing_is_claimed(vendor: Vendor, tmp_path: Path) -> None:
    bundle = leave(vendor.exporter(), [model("tumour-pipeline")], tmp_path / "bundle")

    found = values(bundle, "tumour-pipeline")

    assert {found[name.removeprefix("model.")] for name in Outputs.metrics} == {None}
    assert found["artifacts_missing"] == 1  # the evaluation set
    assert found["open_format_pct"] == 100


# --- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("broken", "endpoint broken: its model answered 500: 'RuntimeError: CUDA out of memory Traceback ...'"),
        ("nonsense", "endpoint nonsense.*one row of numbers per input: '<html>Welcome to nginx!</html>'"),
        ("text", "endpoint text.*one row of numbers per input"),
        ("ragged", "endpoint ragged, inputs 0 to 39: .*one row of numbers per input"),
        ("silent", "endpoint silent: no answer for 0.5 s"),
    ],
)
def test_an_endpoint_that_does_not_answer_properly_is_named_in_one_line(
    vendor: Vendor, tmp_path: Path, fault: str, said: str
) -> None:
    exporter = vendor.exporter(fault, timeout_s=0.5 if fault == "silent" else 20)

    with BundleWriter(tmp_path / "bundle") as writer, pytest.raises(SourceError, match=said) as refused:
        exporter.export(model(fault), writer)

    assert "\n" not in refused.value.message
    assert refused.value.hint


def test_a_silent_endpoint_costs_one_minute_by_default_and_is_asked_once(vendor: Vendor, tmp_path: Path) -> None:
    asked, begun = vendor.faulty.asked["silent"], time.monotonic()

    with (
        BundleWriter(tmp_path / "bundle") as writer,
        pytest.raises(SourceError, match="endpoint silent: no answer for 60 s") as refused,
    ):
        vendor.exporter("silent").export(model("silent"), writer)

    assert 60 <= time.monotonic() - begun < 110  # were it asked twice, 120 s at least
    assert vendor.faulty.asked["silent"] - asked == 1
    assert "\n" not in refused.value.message
    assert "timeout_s = 120" in refused.value.hint
    assert not list((tmp_path / "bundle.partial").rglob("model.*"))


def test_an_endpoint_that_answers_otherwise_each_time_is_recorded_and_never_passes(
    vendor: Vendor, tmp_path: Path
) -> None:
    bundle = leave(vendor.exporter("fickle"), [model("fickle")], tmp_path / "bundle")

    manifest = bundle.document(model("fickle"), "golden/manifest.json")

    assert manifest["determinism"]["max_abs_spread"] > 0.01
    assert all(finding.value is None and finding.error for finding in Outputs().verify(model("fickle"), bundle))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"endpoint_url": "http://127.0.0.1:9"}, "Could not connect"),
        ({"access_key": "${TEST_SM_SECRET}"}, "InvalidSignatureException"),
    ],
    ids=["unreachable", "wrong key"],
)
def test_a_platform_that_cannot_be_reached_or_refuses_the_key_is_a_source_error(
    vendor: Vendor, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(SourceError, match=said) as refused:
        list(vendor.exporter(**settings).discover())

    assert "\n" not in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda exporter, writer: exporter.export(model("lost-model"), writer), "s3://models/lost/model.tar.gz"),
        (lambda exporter, writer: exporter.export(model("closed-model"), writer), "cannot leave"),
        (lambda exporter, writer: exporter.export(model("nowhere"), writer), "endpoint nowhere"),
        (lambda exporter, _: exporter.witness(model("lost-model")), "s3://models/lost/model.tar.gz"),
    ],
    ids=["lost", "closed", "nowhere", "lost witness"],
)
def test_an_asset_that_is_refused_is_named_and_leaves_nothing(
    vendor: Vendor, tmp_path: Path, act: Callable[[SageMakerExporter, BundleWriter], None], said: str
) -> None:
    with BundleWriter(tmp_path / "bundle") as writer, pytest.raises(SourceError, match=said):
        act(vendor.exporter(), writer)

    assert not list((tmp_path / "bundle.partial").rglob("model.*"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"garbage", "not a Parquet file"), (None, "No such file")],
    ids=["garbage", "missing"],
)
def test_golden_inputs_that_cannot_be_read_are_an_error_of_the_plan(
    vendor: Vendor, tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "inputs.parquet").write_bytes(content)
    golden = {"tumour-pipeline": {"inputs": str(tmp_path / "inputs.parquet")}}

    with BundleWriter(tmp_path / "bundle") as writer, pytest.raises(UsageError, match=said):
        vendor.exporter(golden=golden).export(model("tumour-pipeline"), writer)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"instances": [[1]]}', "application/json", 400),
        (b"not json", "application/json", 400),
        (b"1,2,x", "text/csv", 400),
        (b"1,2", "application/xml", 415),
    ],
)
def test_the_vendor_maps_a_container_s_refusal_as_the_real_one_does(
    vendor: Vendor, body: bytes, content_type: str, status: int
) -> None:
    runtime = boto3.client(
        "sagemaker-runtime", endpoint_url=vendor.platform.endpoint_url, region_name=vendor.store.region,
        aws_access_key_id=vendor.store.access_key, aws_secret_access_key=vendor.store.secret_key,
    )  # fmt: skip

    with pytest.raises(runtime.exceptions.ModelError) as refused:
        runtime.invoke_endpoint(EndpointName="digits-transformer", Body=body, ContentType=content_type)

    assert refused.value.response["OriginalStatusCode"] == status


def test_its_network_addresses_are_declared(vendor: Vendor) -> None:
    exporter = vendor.exporter()

    assert set(exporter.endpoints) == {
        vendor.platform.endpoint_url.removeprefix("http://"), vendor.store.endpoint_url.removeprefix("http://"),
    }  # fmt: skip
    abroad = vendor.exporter(endpoint_url=None, s3_endpoint_url=None)
    assert "api.sagemaker.eu-west-3.amazonaws.com:443" in abroad.endpoints
    assert "runtime.sagemaker.eu-west-3.amazonaws.com:443" in abroad.endpoints
