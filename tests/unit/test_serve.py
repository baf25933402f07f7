"""Does a model answer again from its ONNX file, as its callers asked the vendor?"""

# ruff: noqa: S310 - every URL is that of a server which the test itself started

import io
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import served_model
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import json_schemas
from reversible import wire
from reversible.bundle.reader import Bundle
from reversible.cli.main import cli
from reversible.errors import BundleError, DestinationError, UsageError
from reversible.serving import ModelServer, ServedModel, replay
from reversible.wire import Field


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return served_model.write(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[ModelServer]:
    with ModelServer(ServedModel(bundle, served_model.ASSET)) as running:
        yield running


def post(url: str, body: bytes, content_type: str, accept: str = "application/json") -> tuple[int, bytes, str]:
    request = urllib.request.Request(
        url + "/invocations", data=body, headers={"Content-Type": content_type, "Accept": accept}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Content-Type"]


ROWS = np.random.default_rng(5).uniform(0, 16, (7, 64)).astype(np.float32)
EXPECTED = served_model.served(served_model.graph())(ROWS)


def test_json_csv_and_npy_get_the_same_answer_in_the_form_that_is_asked_for(server: ModelServer) -> None:
    npy = io.BytesIO()
    np.save(npy, ROWS)
    bodies = {
        wire.JSON: json.dumps({"instances": ROWS.tolist()}).encode(),
        wire.CSV: "".join(",".join(map(repr, row)) + "\r\n" for row in ROWS.tolist()).encode(),
        wire.NPY: npy.getvalue(),
    }
    for kind, body in bodies.items():
        for accept in (wire.JSON, wire.CSV, wire.NPY):
            status, said, answered = post(server.url, body, f"{kind}; charset=utf-8", accept)
            found: Any
            if accept == wire.JSON:
                found = json.loads(said)["predictions"]
            elif accept == wire.CSV:
                found = [list(map(float, line.split(","))) for line in said.decode().splitlines()]
            else:
                found = np.load(io.BytesIO(said))

            assert (status, answered) == (200, accept)
            assert np.array(found, np.float32).tobytes() == EXPECTED.tobytes(), (kind, accept)


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"{", "application/json", 400, "not application/json"),
        (b"[1]", "application/json", 400, "instances"),
        (b'{"instances": [[1, 2]]}', "application/json", 400, "takes the shape (any, 64), not (1, 2)"),
        (b'{"instances": [["a"]]}', "application/json", 400, "takes numbers"),
        (b'{"instances": [[1], [1, 2]]}', "application/json", 400, "not application/json"),
        (b'{"instances": [{"other": 1}]}', "application/json", 400, "no object with pixels"),
        (b"\xff,1", "text/csv", 400, "UTF-8"),
        (b"a,b", "text/csv", 400, "not text/csv"),
        (b"\x93NUMPY", "application/x-npy", 400, "not application/x-npy"),
        (b"x", "application/xml", 415, "text/csv"),
    ],
)
def test_a_request_that_is_none_gets_one_line(
    server: ModelServer, body: bytes, kind: str, status: int, said: str
) -> None:
    answered, text, _ = post(server.url, body, kind)

    assert answered == status
    assert said in text.decode()
    assert text.count(b"\n") == 1


def test_a_pickle_inside_an_array_is_not_opened(server: ModelServer) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)

    assert post(server.url, stream.getvalue(), wire.NPY)[0] == 400


def test_ping_and_unknown_paths(server: ModelServer) -> None:
    with urllib.request.urlopen(server.url + "/ping", timeout=10) as response:
        assert response.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(server.url + "/etc/passwd", timeout=10)


def test_a_taken_port_is_one_line(server: ModelServer, bundle: Bundle) -> None:
    port = int(server.url.rpartition(":")[2])

    with (
        pytest.raises(DestinationError, match="in use"),
        ModelServer(ServedModel(bundle, served_model.ASSET), port=port),
    ):
        pass


# --- the recorded requests ---------------------------------------------------------------------------------------


def test_every_recorded_request_is_answered_as_it_was(bundle: Bundle, server: ModelServer) -> None:
    found = replay(bundle, served_model.ASSET, server.url)

    assert found is not None
    assert found.same
    assert found.inputs == served_model.COUNT
    assert found.max_abs_diff == 0.0


def altered(tmp_path: Path, change: Any) -> tuple[Bundle, ModelServer]:
    """The bundle with a changed ONNX file, and a server of that; nobody hashes it here."""
    made = served_model.write(tmp_path / "bundle")
    path = made.folder(served_model.ASSET) / "model.onnx"
    model = onnx.load(str(path))
    change(model)
    onnx.save_model(model, str(path))
    return made, ModelServer(ServedModel(made, served_model.ASSET))


def weights(model: onnx.ModelProto, name: str, made: Any) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(made(numpy_helper.to_array(tensor)), name))


def test_another_order_of_the_classes_is_another_decision(tmp_path: Path) -> None:
    def swap(model: onnx.ModelProto) -> None:
        for name in ("head", "head_bias"):
            weights(model, name, lambda array: np.ascontiguousarray(array[::-1]))

    made, server = altered(tmp_path, swap)
    with server:
        found = replay(made, served_model.ASSET, server.url)

    assert found is not None
    assert not found.same
    assert found.decisions_changed > 0


def test_an_answer_without_numbers_is_not_the_same(tmp_path: Path) -> None:
    made, server = altered(tmp_path, lambda model: weights(model, "head_bias", lambda array: array * np.float32("nan")))
    with server:
        found = replay(made, served_model.ASSET, server.url)

    assert found is not None
    assert found.decisions_changed == served_model.COUNT


def test_another_width_is_another_shape(tmp_path: Path) -> None:
    def narrow(model: onnx.ModelProto) -> None:
        weights(model, "head", lambda array: array[:4])
        weights(model, "head_bias", lambda array: array[:4])
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4

    made, server = altered(tmp_path, narrow)
    with server:
        found = replay(made, served_model.ASSET, server.url)

    assert found is not None
    assert found.reshaped
    assert not found.same


def of_one_number(root: Path, factor: float) -> tuple[Bundle, ModelServer]:
    """A model that answers one number, recorded as it is; what is served answers `factor` times as much."""
    model = served_model.graph()
    for name in ("head", "head_bias"):
        weights(model, name, lambda array: array[:1])
    del model.graph.node[-1]  # its softmax
    model.graph.node[-1].output[0] = "probabilities"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    made = served_model.write(root / "bundle", predict=served_model.served(model))
    for name in ("head", "head_bias"):
        weights(model, name, lambda array: array * np.float32(factor))
    onnx.save_model(model, str(made.folder(served_model.ASSET) / "model.onnx"))
    return made, ModelServer(ServedModel(made, served_model.ASSET))


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_where_nothing_decides_nothing_is_called_the_same(tmp_path: Path, factor: float) -> None:
    from reversible.cli.serve import _status

    made, server = of_one_number(tmp_path, factor)
    with server:
        found = replay(made, served_model.ASSET, server.url)

    assert found is not None
    assert not found.decides
    assert not found.same
    assert _status(found) == 3  # the largest of one number is that number, whatever it is


def test_weights_outside_the_folder_are_not_opened(tmp_path: Path) -> None:
    made = served_model.write(tmp_path / "bundle")
    path = made.folder(served_model.ASSET) / "model.onnx"
    model = onnx.load(str(path))
    tensor = next(one for one in model.graph.initializer if one.name == "head")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../bundle.json")
    path.write_bytes(model.SerializeToString())

    with pytest.raises(BundleError, match="is not run: it holds"):
        ServedModel(made, served_model.ASSET)


# --- other kinds of input ----------------------------------------------------------------------------------------

TEXT, AGE, IMAGE = (
    Field("text", np.object_, (None, 1)),
    Field("age", np.float32, (None, 1)),
    Field("n", np.int64, (None, 2)),
)


def test_objects_fill_several_inputs() -> None:
    body = json.dumps({"instances": [{"text": "été", "age": None}, {"text": "", "age": 3}]}).encode()

    found = wire.decode(body, wire.JSON, [TEXT, AGE])

    assert found["text"].tolist() == [["été"], [""]]
    assert np.array_equal(found["age"], np.array([[np.nan], [3]], np.float32), equal_nan=True)
    assert wire.decode(b'"a ""b""",\n,1.5\n', wire.CSV, [TEXT, AGE])["text"].tolist() == [['a "b"'], [""]]


@pytest.mark.parametrize("row", ["[1, 2.5]", "[1, 9223372036854775808]", "[true, null]", '["1", "2"]'])
def test_what_is_no_whole_number_is_refused(row: str) -> None:
    with pytest.raises(wire.RequestError):
        wire.decode(f'{{"instances": [{row}]}}'.encode(), wire.JSON, [IMAGE])


def test_several_outputs_are_objects_and_missing_numbers_null() -> None:
    body, kind = wire.encode({"label": np.array(["a", "é"], object), "p": np.array([0.5, np.nan])}, wire.CSV)

    assert kind == wire.JSON
    assert json.loads(body)["predictions"] == [{"label": "a", "p": 0.5}, {"label": "é", "p": None}]


def test_a_type_that_no_request_carries_is_refused(tmp_path: Path) -> None:
    made = served_model.write(tmp_path / "bundle")
    node = helper.make_node("SequenceLength", ["s"], ["n"])
    value = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [value], [helper.make_tensor_value_info("n", TensorProto.INT64, [])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (made.folder(served_model.ASSET) / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(BundleError, match="which no request can carry"):
        ServedModel(made, served_model.ASSET)


# --- the command -------------------------------------------------------------------------------------------------


def test_replay_only_says_what_came_of_it(bundle: Bundle) -> None:
    english = CliRunner().invoke(cli, ["serve", str(bundle.root), "digits", "--replay-only"])
    french = CliRunner().invoke(cli, ["serve", str(bundle.root), "--replay-only", "--lang", "fr"])
    document = CliRunner().invoke(cli, ["serve", str(bundle.root), "--json"])

    assert "(300 inputs) were sent again" in english.output
    assert "les mêmes décisions" in french.output
    assert json_schemas.parsed("serve", document.output)["replayed"]["same"] is True


def test_an_unknown_model_is_named_with_those_that_are_there(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="there are: digits"):
        CliRunner().invoke(cli, ["serve", str(bundle.root), "letters"], catch_exceptions=False, standalone_mode=False)


def test_it_serves_until_it_is_interrupted(bundle: Bundle) -> None:
    command = [sys.executable, "-m", "reversible", "serve", str(bundle.root), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "answers at" in line, line
    url = line.split(" answers at ")[1].split("/invocations")[0]
    status, said, _ = post(url, json.dumps({"instances": ROWS.tolist()}).encode(), wire.JSON)
    process.send_signal(2)
    begin = time.monotonic()
    process.communicate(timeout=30)

    assert status == 200
    assert np.array(json.loads(said)["predictions"], np.float32).tobytes() == EXPECTED.tobytes()
    assert process.returncode == 130
    assert time.monotonic() - begin < 20
