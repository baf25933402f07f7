"""An epsilon that was changed is named, though neither a parameter nor an answer shows it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import served_model
import torch
from onnx import helper, numpy_helper

from reversible.bundle.reader import Bundle
from reversible.equivalence import epsilons, parameters_record
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_exporters.torch_onnx import TorchConverter
from reversible_verifiers import parameters


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    found = served_model.write(tmp_path / "bundle", asked=served_model.questions(20))
    allow(found, {"norm": 1e-5, "level": 1e-5})
    return found


def allow(bundle: Bundle, found: Any) -> None:
    def change(document: dict[str, Any]) -> None:
        document["epsilons"] = found

    served_model.change_json(bundle, "golden/parameters.json", change)


def altered(bundle: Bundle) -> Finding:
    return next(one for one in parameters.findings(served_model.ASSET, bundle) if "altered" in one.metric)


def adds(kind: str, value: float) -> Any:
    def change(model: onnx.ModelProto) -> None:
        node = next(one for one in model.graph.node if one.op_type == kind)
        node.attribute.remove(next(one for one in node.attribute if one.name == "epsilon"))
        node.attribute.append(helper.make_attribute("epsilon", value))

    return change


def test_the_original_s_epsilons_are_no_alteration(bundle: Bundle) -> None:
    assert altered(bundle).value == 0


@pytest.mark.parametrize("value", [1e-7, 1e-9, 1.2e-5])
@pytest.mark.parametrize("kind", ["LayerNormalization", "BatchNormalization"])
def test_another_epsilon_is_named_with_its_node(bundle: Bundle, kind: str, value: float) -> None:
    served_model.change_model(bundle, adds(kind, value))

    found = altered(bundle)

    assert found.value == 1
    assert found.places[0].startswith(kind)
    assert f"epsilon {value:g}, the original's: 1e-05" in found.places[0]


def test_an_attribute_that_is_not_written_is_the_operator_s_own(bundle: Bundle) -> None:
    def unwritten(model: onnx.ModelProto) -> None:
        node = next(one for one in model.graph.node if one.op_type == "LayerNormalization")
        node.attribute.remove(next(one for one in node.attribute if one.name == "epsilon"))

    served_model.change_model(bundle, unwritten)
    assert altered(bundle).value == 0
    allow(bundle, {"norm": 1e-12})
    assert altered(bundle).value == 2


def test_one_added_before_a_root_is_seen_too() -> None:
    nodes = [
        helper.make_node("Add", ["variance", "little"], ["sum"], name="add"),
        helper.make_node("Sqrt", ["sum"], ["root"]),
        helper.make_node("Add", ["root", "little"], ["y"], name="no root follows"),
    ]
    one = [helper.make_tensor_value_info(name, 1, ["n"]) for name in ("variance", "y")]
    little = numpy_helper.from_array(np.float32(1e-6), "little")
    model = helper.make_model(helper.make_graph(nodes, "g", one[:1], one[1:], [little]))

    assert epsilons.in_file(model) == [("Add add", float(np.float32(1e-6)))]
    assert epsilons.foreign({"norm": 1e-6}, model) == []
    assert epsilons.foreign({"norm": 1e-5}, model) == [("Add add", float(np.float32(1e-6)))]


class Normed(torch.nn.Module):
    def __init__(self, own: float) -> None:
        super().__init__()
        self.norm, self.own = torch.nn.LayerNorm(8, eps=1e-7), own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(self.norm(x), [8], eps=self.own)


@pytest.mark.parametrize("own", [1e-7, 1e-4])
def test_a_conversion_records_them(tmp_path: Path, own: float) -> None:
    program = torch.export.export(
        Normed(own).eval(), (torch.zeros(2, 8),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    torch.export.save(program, tmp_path / "model.pt2")

    TorchConverter().convert(tmp_path / "model.pt2", tmp_path / "model.onnx")

    found = parameters_record.epsilons(tmp_path / "golden")
    assert found is not None
    assert {float(np.float32(value)) for value in found.values()} == {float(np.float32(one)) for one in (1e-7, own)}


@pytest.mark.parametrize("content", [[1], {"norm": "small"}, "x"])
def test_a_damaged_record_is_refused(bundle: Bundle, content: Any) -> None:
    allow(bundle, content)

    with pytest.raises(BundleError, match=r"parameters\.json cannot be read"):
        altered(bundle)


def test_without_a_record_nothing_is_said(bundle: Bundle) -> None:
    path = bundle.folder(served_model.ASSET) / "golden/parameters.json"
    document = json.loads(path.read_text())
    del document["epsilons"]
    path.write_text(json.dumps(document))
    served_model.change_model(bundle, adds("LayerNormalization", 1e-7))

    assert altered(bundle).value == 0
