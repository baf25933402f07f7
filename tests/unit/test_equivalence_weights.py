"""Every weight is found, whatever a faithful export did to it, and every change is named."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from reversible.equivalence import parameters_record, sweeps
from reversible.equivalence.parameters import Account, Fate, account
from reversible.equivalence.signatures import sign
from reversible.equivalence.tensors import constants
from reversible.errors import BundleError

DRAW = np.random.default_rng(4)


def drawn(*shape: int) -> Any:
    return DRAW.normal(0, 1, shape).astype(np.float32)


ORIGINAL: dict[str, Any] = {
    "embed.weight": drawn(3000, 16),
    "conv.weight": drawn(8, 3, 3, 3),
    "conv.bias": drawn(8),
    "bn.weight": drawn(8),
    "bn.bias": drawn(8),
    "bn.running_mean": drawn(8),
    "bn.running_var": np.abs(drawn(8)) + np.float32(0.5),
    "bn.num_batches_tracked": np.array(7),
    "q.weight": drawn(16, 16),
    "k.weight": drawn(16, 16),
    "v.weight": drawn(16, 16),
    "head.weight": drawn(5, 16),
    "head.bias": drawn(5),
}


def traced(tensors: dict[str, Any], *, values: bool = True) -> Account:
    return account([sign(name, array) for name, array in ORIGINAL.items()], tensors, ORIGINAL if values else {})


def one(found: Account, name: str) -> Any:
    return next(line for line in found.traced if line.name == name)


def faithful() -> dict[str, Any]:
    return {f"onnx::{at}": array for at, array in enumerate(ORIGINAL.values())}


@pytest.mark.parametrize("values", [True, False])
def test_a_plain_copy_is_found_whatever_its_names(values: bool) -> None:
    found = traced(faithful(), values=values)

    assert found.share(Fate.IDENTICAL, Fate.TRIVIAL) == 1
    assert not found.of(Fate.ALTERED)
    assert not found.of(Fate.MISSING)


@pytest.mark.parametrize("values", [True, False])
def test_transposed_reshaped_joined_and_split_weights_are_the_same_bits(values: bool) -> None:
    tensors = faithful()
    for name in ("onnx::1", "onnx::8", "onnx::9", "onnx::10", "onnx::11", "onnx::0"):
        del tensors[name]
    tensors |= {
        "conv": ORIGINAL["conv.weight"].transpose(2, 3, 1, 0).copy(),
        "qkv": np.concatenate([ORIGINAL[f"{one}.weight"] for one in "qkv"]),
        "head": ORIGINAL["head.weight"].T.copy(),
        "embed.0": ORIGINAL["embed.weight"][:1500],
        "embed.1": ORIGINAL["embed.weight"][1500:],
    }

    found = traced(tensors, values=values)

    assert found.share(Fate.IDENTICAL, Fate.TRIVIAL) == 1
    assert one(found, "k.weight").where == "qkv"
    assert "piece" in one(found, "k.weight").how
    assert one(found, "embed.weight").where == "embed.0, embed.1"
    assert one(found, "head.weight").how == "transposed"


def test_weights_joined_along_the_other_axis_are_found() -> None:
    tensors = faithful()
    for name in ("onnx::8", "onnx::9", "onnx::10"):
        del tensors[name]
    tensors["qkv"] = np.concatenate([ORIGINAL[f"{one}.weight"].T for one in "qkv"], axis=1)

    assert traced(tensors).share(Fate.IDENTICAL, Fate.TRIVIAL) == 1


def folded(epsilon: float = 1e-5) -> tuple[Any, Any]:
    scale = ORIGINAL["bn.weight"] / np.sqrt(ORIGINAL["bn.running_var"] + np.float32(epsilon))
    bias = (ORIGINAL["conv.bias"] - ORIGINAL["bn.running_mean"]) * scale + ORIGINAL["bn.bias"]
    return ORIGINAL["conv.weight"] * scale.reshape(-1, 1, 1, 1), bias


def test_a_fold_is_recomputed_and_named() -> None:
    tensors = faithful()
    for at in range(1, 7):
        del tensors[f"onnx::{at}"]
    tensors["fused_weight"], tensors["fused_bias"] = folded()

    found = traced(tensors)

    assert {line.name for line in found.of(Fate.FOLDED)} == set(list(ORIGINAL)[1:7])
    assert one(found, "bn.running_var").where in ("fused_weight", "fused_bias")
    assert not found.of(Fate.MISSING)


def test_a_fold_with_one_weight_off_is_no_fold() -> None:
    tensors = faithful()
    for at in range(1, 7):
        del tensors[f"onnx::{at}"]
    weight, bias = folded()
    weight[0, 0, 0, 0] *= np.float32(1.00001)
    bias[1] += np.float32(1e-4)
    tensors["fused_weight"], tensors["fused_bias"] = weight, bias

    assert not traced(tensors).of(Fate.FOLDED)
    assert one(traced(tensors), "conv.weight").fate is not Fate.IDENTICAL


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", "iofc"), ("GRU", "zrh")])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_weights_are_found_with_their_gates_in_onnx_s_order(
    kind: str, gates: str, bidirectional: bool
) -> None:
    torch = pytest.importorskip("torch")
    layer = getattr(torch.nn, kind)(5, 4, bidirectional=bidirectional)
    mine = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    theirs = ("ifco" if kind == "LSTM" else "rzh").index

    def ordered(name: str) -> Any:
        parts = np.split(mine[name], len(gates))
        return np.concatenate([parts[theirs(gate)] for gate in gates])

    sides = ("", "_reverse") if bidirectional else ("",)
    port = {
        "W": np.stack([ordered(f"weight_ih_l0{side}") for side in sides]),
        "R": np.stack([ordered(f"weight_hh_l0{side}") for side in sides]),
        "B": np.stack([np.concatenate([ordered(f"bias_{one}_l0{side}") for one in ("ih", "hh")]) for side in sides]),
    }
    signatures = [sign(name, array) for name, array in mine.items()]

    assert len(account(signatures, port, mine).of(Fate.IDENTICAL)) == len(mine)
    port["R"][-1, 6, 1] *= np.float32(1.001)
    off = account(signatures, port, mine)
    assert [line.name for line in off.of(Fate.ALTERED)] == [f"weight_hh_l0{sides[-1]}"]
    assert len(off.of(Fate.IDENTICAL)) == len(mine) - 1


def zero_row(array: Any) -> Any:
    array[2024] = 0
    return array


def half(array: Any) -> Any:
    return array.astype(np.float16)


def half_kept_wide(array: Any) -> Any:
    return array.astype(np.float16).astype(np.float32)


def brain_kept_wide(array: Any) -> Any:
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


@pytest.mark.parametrize("values", [True, False])
@pytest.mark.parametrize(
    ("change", "fate", "how"),
    [
        (zero_row, Fate.ALTERED, "row"),
        (half, Fate.CAST, "float16"),
        (half_kept_wide, Fate.CAST, "float16, kept as float32"),
        (brain_kept_wide, Fate.CAST, "bfloat16, kept as float32"),
        (lambda array: array * np.float32(1.001), Fate.ALTERED, "differ"),
    ],
    ids=["a rare row zeroed", "float16", "float16 inside", "bfloat16 inside", "all scaled"],
)
def test_what_was_changed_is_told_from_what_is_missing(change: Any, fate: Fate, how: str, values: bool) -> None:
    tensors = {**faithful(), "onnx::0": change(ORIGINAL["embed.weight"].copy())}

    line = one(traced(tensors, values=values), "embed.weight")

    assert line.fate is fate
    assert line.where == "onnx::0"
    assert how in line.how or values


def test_the_changed_row_is_named() -> None:
    tensors = {**faithful(), "onnx::0": zero_row(ORIGINAL["embed.weight"].copy())}

    assert "16 of 48000 numbers differ, first at [2024, 0]" in one(traced(tensors), "embed.weight").how
    place = int(one(traced(tensors, values=False), "embed.weight").how.rpartition(" ")[2])
    assert place <= 2024 < place + 4096 // 64


def test_what_the_port_has_no_use_for_is_missing_and_nothing_else() -> None:
    tensors = faithful()
    del tensors["onnx::11"], tensors["onnx::12"]

    found = traced(tensors)

    assert {line.name for line in found.of(Fate.MISSING)} == {"head.weight", "head.bias"}
    assert not found.of(Fate.ALTERED)


def test_float64_weights_rounded_once_are_the_same() -> None:
    array = DRAW.normal(0, 1, (40, 3))

    found = account([sign("w", array)], {"t": array.astype(np.float32)})

    assert found.of(Fate.IDENTICAL)[0].how == "rounded to float32"


def test_a_large_table_is_not_searched_for_ever() -> None:
    """A tensor of a million numbers that holds no parameter, and small parameters that are gone."""
    signatures = [sign(f"b{at}", drawn(3)) for at in range(200)]

    assert len(account(signatures, {"big": drawn(1 << 20)}).of(Fate.MISSING)) == 200


# --- how they travel ---------------------------------------------------------------------------------------------


def test_the_record_accounts_as_the_original_does(tmp_path: Path) -> None:
    tensors = faithful()
    for at in range(1, 7):
        del tensors[f"onnx::{at}"]
    tensors["fused_weight"], tensors["fused_bias"] = folded()
    files, there = parameters_record.record(ORIGINAL, tensors)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    read = parameters_record.read(tmp_path)

    assert read is not None
    signatures, values = read
    here = account(signatures, tensors, values)
    assert [(one.name, one.fate) for one in here.traced] == [(one.name, one.fate) for one in there.traced]
    assert "embed.weight" not in values
    tensors["onnx::0"] = zero_row(ORIGINAL["embed.weight"].copy())
    assert one(account(signatures, tensors, values), "embed.weight").fate is Fate.ALTERED


def test_a_record_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    assert parameters_record.read(tmp_path) is None
    files, _ = parameters_record.record({"w": drawn(9)}, {})
    other, _ = parameters_record.record({"w": drawn(9)}, {})
    (tmp_path / "parameters.json").write_bytes(files["parameters.json"])
    (tmp_path / "parameters.npz").write_bytes(other["parameters.npz"])
    with pytest.raises(BundleError, match="not the parameter"):
        parameters_record.read(tmp_path)
    for content in (b"{}", b"[", b'{"format": "x", "parameters": []}'):
        (tmp_path / "parameters.json").write_bytes(content)
        with pytest.raises(BundleError, match=r"parameters\.json"):
            parameters_record.read(tmp_path)


def test_safetensors_and_npz_are_read_without_their_libraries(tmp_path: Path) -> None:
    import json

    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            "h": {"dtype": "BF16", "shape": [2], "data_offsets": [16, 20]},
        }
    ).encode()
    body = np.arange(4, dtype="<f4").tobytes() + b"\x80\x3f\x00\x40"
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body)
    np.savez(tmp_path / "b.npz", w=np.arange(3))

    found = parameters_record.load(tmp_path / "a.safetensors")

    assert found["w"].tolist() == [[0, 1], [2, 3]]
    assert found["h"].tolist() == [0x3F80, 0x4000]
    assert parameters_record.load(tmp_path / "b.npz")["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 40, (2**40).to_bytes(8, "little") + b"{}", b"\x02" + bytes(7) + b"[]"]
)
def test_a_file_that_lies_about_its_length_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)

    with pytest.raises(BundleError, match=r"a\.safetensors"):
        parameters_record.load(tmp_path / "a.safetensors")


def test_an_object_array_is_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", w=np.array([{}], dtype=object))

    with pytest.raises(BundleError):
        parameters_record.load(tmp_path / "b.npz")


# --- sweeps ------------------------------------------------------------------------------------------------------


def test_a_vocabulary_sweep_asks_for_every_row_once() -> None:
    asked = np.concatenate([batch.reshape(-1) for batch in sweeps.vocabulary(1003, 128, seed=3)])

    assert sorted(set(asked.tolist())) == list(range(1003))
    assert len(asked) == 8 * 128
    again = np.concatenate([batch.reshape(-1) for batch in sweeps.vocabulary(1003, 128, seed=3)])
    assert np.array_equal(asked, again)


def embedding_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["rows"]),
        helper.make_node("Gather", ["positions", "two"], ["place"]),
        helper.make_node("Add", ["rows", "place"], ["sum"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT32, ["n", "s"])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", "s", 4])],
        [
            numpy_helper.from_array(drawn(50, 4), "table"),
            numpy_helper.from_array(drawn(6, 4), "positions"),
            numpy_helper.from_array(np.array(2), "two"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_embeddings_and_the_inputs_that_choose_their_rows_are_found() -> None:
    found = sweeps.embeddings(embedding_model())

    assert found == [sweeps.Table(name="table", rows=50, input="ids"), sweeps.Table(name="positions", rows=6, input="")]
    assert set(constants(embedding_model())) == {"table", "positions", "two"}


def tree(mode: str = "BRANCH_LEQ") -> onnx.NodeProto:
    """x0 <= 2 ? (x1 <= -1 ? a : b) : (x0 <= 1 ? unreachable : c)"""
    return helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0] * 7, nodes_nodeids=list(range(7)), nodes_featureids=[0, 1, 0, 0, 0, 0, 0],
        nodes_values=[2.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        nodes_modes=[mode, mode, mode, "LEAF", "LEAF", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 3, 5, 0, 0, 0, 0], nodes_falsenodeids=[2, 4, 6, 0, 0, 0, 0],
        nodes_missing_value_tracks_true=[0] * 7, nodes_hitrates=[1.0] * 7,
        target_treeids=[0] * 4, target_nodeids=[3, 4, 5, 6], target_ids=[0] * 4,
        target_weights=[10.0, 20.0, 30.0, 40.0],
    )  # fmt: skip


def ask(node: onnx.NodeProto, inputs: Any) -> Any:
    import onnxruntime

    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=10
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs})[0].reshape(-1)


def test_a_leaf_sweep_reaches_every_leaf_that_can_be_reached() -> None:
    found = sweeps.leaves(tree(), 2)

    assert (found.reached, found.dead) == (3, 1)
    assert set(ask(tree(), found.inputs).tolist()) == {10.0, 20.0, 40.0}


@pytest.mark.parametrize("mode", ["BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"])
def test_a_leaf_sweep_sees_another_comparison(mode: str) -> None:
    inputs = sweeps.leaves(tree(), 2).inputs

    assert not np.array_equal(ask(tree(), inputs), ask(tree(mode), inputs))


@pytest.mark.parametrize("step", [np.float32(np.inf), np.float32(-np.inf)])
def test_a_leaf_sweep_sees_a_threshold_that_moved_by_one_step(step: np.float32) -> None:
    moved = tree()
    values = next(one for one in moved.attribute if one.name == "nodes_values")
    values.floats[1] = np.nextafter(np.float32(-1), step)
    inputs = sweeps.leaves(tree(), 2).inputs

    assert not np.array_equal(ask(tree(), inputs), ask(moved, inputs))


def test_only_tree_ensembles_have_leaves() -> None:
    with pytest.raises(ValueError, match="no tree ensemble"):
        sweeps.leaves(helper.make_node("Relu", ["x"], ["y"]), 2)
