"""Two readers open every file to the same content, or the finding names the file."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.findings import Finding
from reversible_verifiers import array_files
from reversible_verifiers.file_formats import Reading, read_twice
from reversible_verifiers.openness import Openness

AT = datetime(2026, 11, 24, tzinfo=UTC)
MODEL = Asset(source="models", kind=Kind.MODEL, name="digits")
OBJECTS = Asset(source="docs", kind=Kind.OBJECTS, name="bucket")


def identity() -> onnx.ModelProto:
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 2]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    with BundleWriter(tmp_path / "b") as writer:
        with writer.part(f"{MODEL.folder}/model.onnx") as stream:
            stream.write(identity().SerializeToString())
        for name, array in {"raw": np.ones((2, 3), np.float32), "text": np.array(["é", "b"], object)}.items():
            with writer.part(f"{MODEL.folder}/test_data_set_0/{name}.pb") as stream:
                stream.write(onnx.numpy_helper.from_array(array).SerializeToString())
        nested = pa.table(
            {"l": [[1.5, None], []], "s": [{"a": 1}, None], "n": pa.nulls(2), "A": ["x", "é"], "a": [1, 2]}
        )
        with writer.part(f"{MODEL.folder}/golden/inputs.parquet") as stream:
            pq.write_table(nested, stream)
        with writer.part(f"{MODEL.folder}/original/model.pkl") as stream:
            stream.write(b"\x80\x05vendor")
        writer.put_json(f"{MODEL.folder}/model.json", {"a": 1.5})
        writer.close_asset(MODEL, exporter="test", at=AT)
        metadata = [{}, {"X-Amz-Key-V2": "e30=", "author": "z"}, {"author": "z"}]
        index = pa.table(
            {"key": ["a", "b", "c"], "metadata": list(map(json.dumps, metadata)), "sha256": pa.nulls(3, pa.string())}
        )
        with writer.part(f"{OBJECTS.folder}/index.parquet") as stream:
            pq.write_table(index, stream)
        writer.close_asset(OBJECTS, exporter="test", at=AT)
        return writer.finish(about={}, at=AT)


def findings(asset: Asset, bundle: Bundle) -> dict[str, Finding]:
    return {one.metric: one for one in Openness().verify(asset, bundle)}


def test_a_model_is_open_and_its_originals_are_left_aside(bundle: Bundle) -> None:
    found = findings(MODEL, bundle)

    assert [found[metric].value for metric in sorted(found)] == [0, 0, 100.0, 100.0]
    assert found["format.two_readers_ok_pct"].facts["files"] == 5
    assert "original/" in found["format.open_pct"].seen


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.onnx", lambda data: data[: len(data) // 2]),
        ("model.onnx", lambda _: b"garbage"),
        ("test_data_set_0/raw.pb", lambda data: data[:-3]),
        ("model.json", lambda _: b'{"a": NaN}'),
        ("model.json", lambda _: "é".encode("latin-1")),
        ("golden/inputs.parquet", lambda data: data[:-20]),
    ],
)
def test_a_broken_file_is_named(bundle: Bundle, file: str, damage: Any) -> None:
    path = bundle.folder(MODEL) / file
    path.write_bytes(damage(path.read_bytes()))
    found = findings(MODEL, bundle)

    assert found["format.two_readers_ok_pct"].value == 80.0
    assert found["format.two_readers_ok_pct"].places[0].startswith(f"digits {file}: ")


def test_a_vendors_operator_is_not_open(bundle: Bundle) -> None:
    model = identity()
    model.graph.node[0].domain = "com.vendor"
    model.opset_import.append(onnx.helper.make_opsetid("com.vendor", 1))
    (bundle.folder(MODEL) / "model.onnx").write_bytes(model.SerializeToString())

    assert findings(MODEL, bundle)["format.needs_vendor_reader"].places == ("digits model.onnx",)


def test_objects_that_a_client_encrypted_are_named(bundle: Bundle) -> None:
    found = findings(OBJECTS, bundle)["crypto.vendor_key_only_objects"]

    assert (found.value, found.places) == (1, ("bucket/b",))


@pytest.mark.parametrize("hard", [
    pa.array([-(10**37), 10**37], pa.decimal128(38, 0)),
    pa.array([-62135596800000000, 253402300799999999], pa.timestamp("us", "UTC")),
    pa.array([-62135596800000000, 253402300799999999], pa.timestamp("us")),
    pa.array([-719162, 2932896], pa.int32()).cast(pa.date32()),
    pa.array([0, 86399999999], pa.int64()).cast(pa.time64("us")),
    pa.array([-0.0, float("nan")]), pa.array([5e-324, 1e-45], pa.float32()), pa.array(["", None]),
    pa.array([b"\x00", b""]),
    pa.array([2**64 - 1, 0], pa.uint64()),
], ids=lambda values: str(values.type))  # fmt: skip
def test_both_readers_agree_on_hard_values(tmp_path: Path, hard: pa.Array) -> None:
    path = tmp_path / "a[b]*.parquet"
    pq.write_table(pa.table({"c": hard}), path)

    assert read_twice(path).fault == ""


@pytest.mark.parametrize(
    "arrays",
    [
        {"numbers": np.arange(6.0).reshape(2, 3), "texts": np.array(["é", "z"]), "none": np.zeros((0, 3), np.int8)},
        {"by columns": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)), "half": np.float16(3)},
    ],
)
def test_a_numpy_archive_is_open(arrays: dict[str, Any], tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **arrays)

    assert read_twice(tmp_path / "a.npz") == Reading("NumPy")


def test_a_numpy_archive_of_objects_or_of_other_numbers_is_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    np.savez(tmp_path / "cut.npz", a=np.arange(1000))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-300])
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("a.npy", "garbage")

    for name in ("objects", "cut", "text"):
        assert read_twice(tmp_path / f"{name}.npz").format == "", name
    with pytest.raises(ValueError, match="objects"):
        array_files.by_layout(tmp_path / "objects.npz")
