"""A model that is not whole, open, licensed, traceable or harmless is said to be so, part by part."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import served_model
from onnx import TensorProto, helper, numpy_helper
from served_model import ASSET, change_json, change_model, change_tensor

from reversible import onnx_graph
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_verifiers.model_package import ARTIFACTS, LINEAGE, ModelPackage


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return served_model.write(tmp_path_factory.mktemp("honest") / "bundle")


@pytest.fixture
def bundle(honest: Bundle, tmp_path: Path) -> Bundle:
    shutil.copytree(honest.root, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def measure(bundle: Bundle) -> dict[str, Finding]:
    found = list(ModelPackage().verify(ASSET, bundle))
    assert {finding.metric for finding in found} == ModelPackage.metrics
    for finding in found:
        finding.seen.format(**finding.facts)
        json.dumps(finding.to_json(), allow_nan=False)
    return {finding.metric.removeprefix("model."): finding for finding in found}


def number(finding: Finding) -> float:
    assert isinstance(finding.value, int | float)
    return finding.value


def test_a_whole_package_passes_and_names_nothing(honest: Bundle) -> None:
    found = measure(honest)

    assert {name: finding.value for name, finding in found.items()} == {
        "artifacts_missing": 0,
        "open_format_pct": 100,
        "licence_known_pct": 100,
        "unsafe_payloads": 0,
        "lineage_resolved_pct": 100,
        "parameters_altered": 0,
        "parameters_found_pct": 100,
    }
    assert not any(finding.places for finding in found.values())


# --- weights that no answer shows ---------------------------------------------------------------------------------


def zero_one_row(array: Any) -> Any:
    array[3] = 0
    return array


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (zero_one_row, "pieces differ"),
        (lambda array: array.astype(np.float16).astype(np.float32), "rounded to float16, kept as float32"),
        (lambda array: array * np.float32(1.001), "differ"),
    ],
    ids=["a zeroed row", "half precision", "scaled"],
)
def test_a_changed_weight_is_found_by_its_bits_alone(bundle: Bundle, change: Callable[[Any], Any], how: str) -> None:
    change_model(bundle, change_tensor("head", change))

    found = measure(bundle)

    assert found["parameters_altered"].value == 1
    assert found["parameters_altered"].places[0].startswith("net.head, in head: ")
    assert how in found["parameters_altered"].places[0]
    assert 0 < number(found["parameters_found_pct"]) < 80


def test_a_transposed_weight_is_there_bit_for_bit(bundle: Bundle) -> None:
    """Exporters transpose; whether it is used the right way round, the answers show."""
    change_model(bundle, change_tensor("head", lambda array: array.T))

    assert measure(bundle)["parameters_altered"].value == 0


def test_a_weight_that_is_gone_is_named(bundle: Bundle) -> None:
    change_model(bundle, lambda model: model.graph.initializer.remove(model.graph.initializer[-2]))

    found = measure(bundle)["parameters_found_pct"]

    assert number(found) < 100
    assert found.places == ("net.head (1280)",)


def test_without_a_record_of_the_original_s_weights_nothing_is_said_of_them(bundle: Bundle) -> None:
    (bundle.folder(ASSET) / "golden/parameters.json").unlink()

    found = measure(bundle)

    assert found["parameters_altered"].value is None
    assert "not recorded" in found["parameters_found_pct"].error


# --- missing parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_an_artefact_that_the_vendor_never_had_is_missing(bundle: Bundle, artifact: str) -> None:
    change_json(bundle, "model.json", lambda document: document["artifacts"].update({artifact: None}))

    finding = measure(bundle)["artifacts_missing"]

    assert finding.value == 1
    assert finding.places == (artifact,)


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/passwd", "original/nothing.json", "", ".", "original"])
def test_an_artefact_that_names_no_file_of_the_package_is_missing(bundle: Bundle, path: str) -> None:
    change_json(bundle, "model.json", lambda document: document["artifacts"].update(preprocessing=path))

    assert measure(bundle)["artifacts_missing"].places == ("preprocessing",)


def test_an_empty_file_is_a_missing_artefact(bundle: Bundle) -> None:
    (bundle.folder(ASSET) / "endpoint.json").write_bytes(b"")

    assert measure(bundle)["artifacts_missing"].places == ("settings",)


def altered(bundle: Bundle) -> None:
    (bundle.folder(ASSET) / "original/code/train.py").write_bytes(b"print('other')\n")


def removed(bundle: Bundle) -> None:
    (bundle.folder(ASSET) / "original/code/train.py").unlink()


def forgotten(bundle: Bundle) -> None:
    def forget(document: dict[str, Any]) -> None:
        document["originals"] = [one for one in document["originals"] if one["name"] != "code/train.py"]

    change_json(bundle, "model.json", forget)


@pytest.mark.parametrize("damage", [altered, removed, forgotten])
def test_an_original_that_is_not_as_the_source_has_it_is_missing(
    bundle: Bundle, damage: Callable[[Bundle], None]
) -> None:
    damage(bundle)

    finding = measure(bundle)["artifacts_missing"]

    assert finding.value == 1
    assert finding.places == ("original code/train.py",)


def test_a_witness_that_saw_no_originals_decides_nothing(bundle: Bundle) -> None:
    path = bundle.root / "data/witness" / ASSET.slug / "witness.json"
    document = json.loads(path.read_bytes())
    del document["facts"]["members"]
    path.write_text(json.dumps(document))

    with pytest.raises(BundleError, match="witness"):
        list(ModelPackage().verify(ASSET, bundle))


def test_a_document_of_another_format_is_refused(bundle: Bundle) -> None:
    change_json(bundle, "model.json", lambda document: document.update(format="something/9"))

    with pytest.raises(BundleError, match="reversible-model/1"):
        list(ModelPackage().verify(ASSET, bundle))


# --- open format ------------------------------------------------------------------------------------------------


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].domain = "com.microsoft"
    model.graph.node[-1].op_type = "QuickGelu"
    model.opset_import.add(domain="com.microsoft", version=1)


def foreign_operator_in_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph(
        [helper.make_node("Magic", ["level"], ["inner"], domain="ai.vendor")], "branch", [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )  # fmt: skip
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.insert(7, helper.make_node("If", ["yes"], ["unused"], then_branch=inner, else_branch=inner))
    model.opset_import.add(domain="ai.vendor", version=1)


def foreign_operator_in_a_function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function(
            "local",
            "Wrapped",
            ["x"],
            ["y"],
            [helper.make_node("Magic", ["x"], ["y"], domain="ai.vendor")],
            [helper.make_opsetid("ai.vendor", 1)],
        )
    )
    model.opset_import.add(domain="local", version=1)
    model.graph.node[4].domain, model.graph.node[4].op_type = "local", "Wrapped"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (foreign_operator, "operator com.microsoft:QuickGelu"),
        (foreign_operator_in_a_branch, "operator ai.vendor:Magic"),
        (foreign_operator_in_a_function, "operator ai.vendor:Magic"),
    ],
)
def test_a_vendor_s_operator_is_listed_wherever_it_hides(
    bundle: Bundle, change: Callable[[onnx.ModelProto], None], place: str
) -> None:
    change_model(bundle, change)

    found = measure(bundle)

    assert found["open_format_pct"].value == 0
    assert place in found["open_format_pct"].places
    assert number(found["unsafe_payloads"]) >= 1


def test_onnx_s_own_checker_would_have_let_a_vendor_s_operator_pass(bundle: Bundle) -> None:
    change_model(bundle, foreign_operator)

    onnx.checker.check_model(str(bundle.folder(ASSET) / "model.onnx"))


def test_a_local_function_of_open_operators_is_open(bundle: Bundle) -> None:
    def wrap(model: onnx.ModelProto) -> None:
        body = [helper.make_node("Relu", ["x"], ["y"])]
        model.functions.append(
            helper.make_function("local", "Wrapped", ["x"], ["y"], body, [helper.make_opsetid("", 20)])
        )
        model.opset_import.add(domain="local", version=1)
        model.graph.node[4].domain, model.graph.node[4].op_type = "local", "Wrapped"

    change_model(bundle, wrap)

    assert measure(bundle)["open_format_pct"].value == 100


def wrong_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Divv"


def dangling_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nothing"


def wrong_shape(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 9


@pytest.mark.parametrize("change", [wrong_operator, dangling_input, wrong_shape])
def test_a_file_that_the_checker_refuses_is_not_open_format(
    bundle: Bundle, change: Callable[[onnx.ModelProto], None]
) -> None:
    change_model(bundle, change)

    finding = measure(bundle)["open_format_pct"]

    assert finding.value == 0
    assert finding.places[0].startswith("onnx.checker: ")


def point_to(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == "lg")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b", "", "original/../../x", ".hidden"])
def test_external_data_that_escapes_is_neither_open_nor_safe(bundle: Bundle, location: str) -> None:
    change_model(bundle, point_to(location))

    found = measure(bundle)

    assert found["open_format_pct"].value == 0
    assert number(found["unsafe_payloads"]) >= 1


def test_external_data_that_is_not_there_is_not_open_format(bundle: Bundle) -> None:
    change_model(bundle, point_to("model.onnx.data"))

    assert measure(bundle)["open_format_pct"].places == ("external data 'model.onnx.data' is missing",)


def test_external_data_through_a_link_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(1024))
    (bundle.folder(ASSET) / "model.onnx.data").symlink_to(tmp_path / "secret")
    change_model(bundle, point_to("model.onnx.data"))

    assert measure(bundle)["open_format_pct"].value == 0


def test_weights_beside_the_model_are_fine(bundle: Bundle) -> None:
    path = bundle.folder(ASSET) / "model.onnx"
    model = onnx.load(str(path))
    onnx.save_model(model, str(path), save_as_external_data=True, location="model.onnx.data", size_threshold=1000)

    found = measure(bundle)

    assert found["open_format_pct"].value == 100
    assert found["unsafe_payloads"].value == 0


# --- licence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("licence", ["Apache-2.0", "MIT", "BSD-3-Clause", "EUPL-1.2", "CC-BY-4.0", "LicenseRef-ACME"])
def test_a_licence_with_an_identifier_and_a_text_is_known(bundle: Bundle, licence: str) -> None:
    change_json(bundle, "model.json", lambda document: document.update(licence=licence))

    assert measure(bundle)["licence_known_pct"].value == 100


@pytest.mark.parametrize("licence", [None, "", "unknown", "other", "free for you", "apache", 7, ["MIT"]])
def test_anything_else_is_no_known_licence(bundle: Bundle, licence: Any) -> None:
    change_json(bundle, "model.json", lambda document: document.update(licence=licence))

    finding = measure(bundle)["licence_known_pct"]

    assert finding.value == 0
    assert finding.places == ("licence identifier",)


def test_an_identifier_without_a_text_is_not_enough(bundle: Bundle) -> None:
    change_json(bundle, "model.json", lambda document: document["artifacts"].update(licence=None))

    assert measure(bundle)["licence_known_pct"].places == ("licence text",)


# --- payloads ---------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("owned",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("extra.pkl", pickle.dumps(Evil())),
        ("libcustom.so", b"\x7fELF" + bytes(60)),
        ("run.sh", b"#!/bin/sh\n"),
        ("golden/extra.parquet", b"PAR1"),
        ("model.json.bak", b"{}"),
        ("test_data_set_0/input_x.pb", b""),
    ],
)
def test_a_file_that_no_package_of_ours_has_is_counted(bundle: Bundle, name: str, content: bytes) -> None:
    (bundle.folder(ASSET) / name).write_bytes(content)

    assert measure(bundle)["unsafe_payloads"].places == (f"unexpected file {name}",)


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"\x7fELF....", b"PK\x03\x04zip", b"MZ..."])
def test_code_under_an_innocent_name_is_counted(bundle: Bundle, content: bytes) -> None:
    (bundle.folder(ASSET) / "endpoint.json").write_bytes(content)

    assert measure(bundle)["unsafe_payloads"].places == ("executable content in endpoint.json",)


@pytest.mark.parametrize("name", ["parameters", "trees", "original"])
def test_arrays_are_no_code_and_anything_else_in_their_archive_is(bundle: Bundle, name: str) -> None:
    path = bundle.folder(ASSET) / f"golden/{name}.npz"

    def places() -> tuple[str, ...]:
        found = ModelPackage().verify(ASSET, bundle)
        return next(one for one in found if one.metric == "model.unsafe_payloads").places

    np.savez_compressed(path, numbers=np.arange(9.0), texts=np.array(["a", "b"]))
    assert places() == ()
    np.savez(path, numbers=np.array([1, None], dtype=object))
    assert places() == (f"executable content in golden/{name}.npz",)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("run.py", "import os")
    assert places() == (f"executable content in golden/{name}.npz",)
    path.write_bytes(b"PK\x03\x04 and no archive")
    assert places() == (f"executable content in golden/{name}.npz",)


def test_a_pickle_inside_the_graph_is_counted(bundle: Bundle) -> None:
    def hide(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(
            helper.make_tensor("note", TensorProto.STRING, [1], [pickle.dumps(Evil(), protocol=4)])
        )

    change_model(bundle, hide)

    assert measure(bundle)["unsafe_payloads"].places == ("pickle in tensor note",)


def test_a_model_that_called_home_while_it_was_converted_is_counted(bundle: Bundle) -> None:
    change_json(bundle, "model.json", lambda document: document["converter"].update(attempts=["tcp 192.0.2.7:4444"]))

    finding = measure(bundle)["unsafe_payloads"]

    assert finding.value == 1
    assert "192.0.2.7:4444" in finding.places[0]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (pickle.dumps(Evil()), True),
        (pickle.dumps(Evil(), protocol=2), True),
        (pickle.dumps({"plain": [1, 2.5, "text"]}), False),
        (np.random.default_rng(0).bytes(4096), False),
        (b"\x80\x04", False),
        (b"", False),
    ],
)
def test_only_a_pickle_that_calls_something_is_code(content: bytes, code: bool) -> None:
    assert onnx_graph.is_code(content) is code


# --- lineage ----------------------------------------------------------------------------------------------------


def set_link(link: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["lineage"].update({link: value})


@pytest.mark.parametrize("link", LINEAGE)
def test_a_link_that_is_not_there_is_named(bundle: Bundle, link: str) -> None:
    change_json(bundle, "model.json", set_link(link, None))

    finding = measure(bundle)["lineage_resolved_pct"]

    assert finding.value == 80
    assert finding.places == (link,)


@pytest.mark.parametrize(
    ("link", "value"),
    [
        ("version", {"name": "1.0.0"}),
        ("version", {"model_data_sha256": "b" * 64}),
        ("training_data", {"reference": "s3://vendor-bucket/training.parquet", "sha256": "a" * 64}),
        ("training_data", {"reference": "https://x.s3.amazonaws.com/t", "sha256": "a" * 64}),
        ("training_data", {"reference": "load_digits"}),
        ("training_data", {"reference": " ", "sha256": "a" * 64}),
        ("code", []),
        ("code", [{"path": "original/code/train.py", "sha256": "c" * 64}]),
        ("code", [{"path": None, "sha256": "c" * 64}]),
        ("parameters", {}),
        ("environment_lock", "original/LICENSE"),
        ("environment_lock", "../lock"),
    ],
)
def test_a_link_that_leads_back_to_the_platform_or_nowhere_is_not_resolved(
    bundle: Bundle, link: str, value: Any
) -> None:
    change_json(bundle, "model.json", set_link(link, value))

    assert measure(bundle)["lineage_resolved_pct"].places == (link,)
