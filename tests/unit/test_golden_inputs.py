"""What is asked is what the customer gave, or fits the model; every value keeps its type through the tables."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from reversible import golden, wire
from reversible.errors import BundleError, UsageError
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing
from reversible.wire import Field
from reversible_exporters import golden_inputs, golden_probes
from reversible_exporters.golden_questions import Questions
from reversible_exporters.golden_requests import request


def parquet(**columns: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


GIVEN = parquet(
    age=pa.array([41, None, 7], pa.float64()),
    text=["été", None, 'a,"b"\n'],
    ids=pa.array([[1, 2], [3], [4, 2**53 + 1]], pa.list_(pa.int64())),
    known=pa.array([[[True], [False]]] * 3, pa.list_(pa.list_(pa.bool_()))),
    label=pa.array([1, None, 0], pa.int32()),
)


def test_columns_of_any_kind_are_asked_recorded_and_read_as_they_were_given(tmp_path: Path) -> None:
    questions = Questions.read(GIVEN, "inputs")

    assert [(one.field.name, one.field.to_json()["type"], one.field.shape) for one in questions.columns] == [
        ("age", "float64", (None,)), ("text", "text", (None,)), ("ids", "int64", (None, None)),
        ("known", "bool", (None, 2, 1)),
    ]  # fmt: skip
    assert questions.labels == (1, None, 0)
    assert [rows.tolist() for rows in questions.batches(64)] == [[0], [1], [2]]  # ids differ in size from row to row
    stream = tmp_path / "inputs.parquet"
    table = {name: one for column in questions.columns for name, one in column.arrow().items()}
    pq.write_table(pa.table({"index": pa.array(range(3)), **table}), stream)
    manifest = {"format": golden.FORMAT, "signature": {"inputs": [one.to_json() for one in questions.columns]}}
    for kept, column in zip(golden.read(tmp_path, manifest, "inputs"), questions.columns, strict=True):
        for row in range(3):
            assert kept.content(row) == column.content(row)
        for rows in questions.batches(64):
            body, kind = request(questions.columns, rows, "instances")
            found = wire.decode(body, kind, [one.field for one in questions.columns])[column.field.name]
            expected = kept.take(rows)
            assert np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"garbage", "is not a Parquet file"),
        (parquet(label=pa.array([1], pa.int32())), "holds no input"),
        (parquet(when=pa.array([0], pa.timestamp("us"))), "column when is a timestamp"),
        (parquet(x=pa.array([[[1.0], [2.0, 3.0]]])), "."),
        (parquet(x=pa.array([1.0, float("inf")])), "row 1 holds an infinite value"),
        (parquet(image=pa.array([b"x", None])), "row 1 holds no image"),
    ],
    ids=["garbage", "nothing", "a date", "ragged lists", "infinite", "no image"],
)
def test_a_file_that_cannot_be_asked_is_an_error_of_the_plan(content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        Questions.read(content, "golden inputs x.parquet")

    assert "\n" not in refused.value.message


def saved(folder: Path, inputs: list[Any], nodes: list[Any], tensors: list[Any]) -> Path:
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [output], tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(folder / "model.onnx")
    )
    return folder


def of_ids(folder: Path) -> Path:
    table = numpy_helper.from_array(np.ones((50, 4), np.float32), "table")
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "length"]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT, ["batch", 3]),
    ]
    return saved(folder, inputs, [helper.make_node("Gather", ["table", "input_ids"], ["out"])], [table])


def test_without_a_file_every_id_every_length_and_extremes_are_asked(tmp_path: Path) -> None:
    questions = golden_inputs.made(of_ids(tmp_path), count=80, batch_size=16)

    ids, mask, scale = questions.columns
    assert (ids.field.name, mask.field.name, scale.field.name) == ("input_ids", "attention_mask", "scale")
    asked = np.concatenate([one.reshape(-1) for one in ids.values])
    assert set(asked.tolist()) == set(range(50))
    assert {one.shape[0] for one in ids.values} == {1, 2, 9, 17, 33}
    assert all(one.shape == other.shape for one, other in zip(ids.values, mask.values, strict=True))
    assert any((one == 0).any() for one in mask.values)
    assert questions.sha256 == golden_inputs.made(of_ids(tmp_path), count=80, batch_size=16).sha256
    assert questions.sha256 != golden_inputs.made(of_ids(tmp_path), count=80, batch_size=16, seed=1).sha256
    assert "seed 20261127" in questions.plan
    assert all(questions.origins[row] == "drawn" for row in range(80))


def test_texts_are_made_of_all_words_and_probed(tmp_path: Path) -> None:
    vocabulary = [f"mot{number}" for number in range(100)]
    (tmp_path / "processing").mkdir()
    rules = {
        "format": "reversible-text/1", "input": "terms", "column": "avis", "analyzer": "word", "lowercase": True,
        "strip_accents": None, "token_pattern": "\\w+", "ngram_range": [1, 1], "stop_words": None, "binary": False,
        "vocabulary": vocabulary,
    }  # fmt: skip
    import json

    (tmp_path / "processing/terms.json").write_text(json.dumps(rules), encoding="utf-8")
    value = helper.make_tensor_value_info("terms", TensorProto.FLOAT, ["n", 100])
    questions = golden_inputs.made(
        saved(tmp_path, [value], [helper.make_node("Identity", ["terms"], ["out"])], []), count=40, batch_size=16
    )

    (column,) = questions.columns
    assert column.field.name == "avis"
    assert set(" ".join(column.values[:40]).split()) == set(vocabulary)
    kinds = {one.removeprefix("probe: ") for one in questions.origins[40:]}
    assert {"empty", "long", "upper case", "accents", "accents removed", "NFD", "emoji", "unknown"} <= kinds
    assert questions.probes == questions.count - 40
    assert questions.is_probe(40)
    assert not questions.is_probe(39)


def test_a_model_of_categories_is_asked_for_each_and_for_none(tmp_path: Path) -> None:
    keys = helper.make_node(
        "LabelEncoder", ["ville"], ["out"], domain="ai.onnx.ml", keys_strings=["Gap", "Aix"], values_floats=[1.0, 2.0]
    )
    value = helper.make_tensor_value_info("ville", TensorProto.STRING, ["n", 1])
    questions = golden_inputs.made(saved(tmp_path, [value], [keys], []), count=60, batch_size=16, probes=False)

    assert {"Gap", "Aix", "", "inconnu"} <= set(questions.columns[0].values.tolist())


def test_drawn_images_are_pngs_of_the_size_that_the_rules_ask_for(tmp_path: Path) -> None:
    from reversible.processing import png

    for number, body in enumerate(golden_inputs._images((6, 9), 8, np.random.default_rng(0))):
        assert png.decode(body).shape[:2] == (6, 9), number


def test_a_probe_changes_its_text_and_nothing_beside_it() -> None:
    values: dict[str, Any] = {"text": np.array(["Été", "crème"], object), "age": np.array([1.0, 2.0])}
    questions = golden_probes.add(Questions.of(values, labels=(0, 1), origins=("a", "b"), sha256=""))

    text, age = questions.columns
    assert text.values[:2].tolist() == ["Été", "crème"]
    assert set(age.values[2:].tolist()) == {1.0}
    assert "E\u0301te\u0301" in text.values.tolist()
    assert "Ete" in text.values.tolist()
    assert questions.labels[2:] == (None,) * questions.probes


# --- from rows to tensors ----------------------------------------------------------------------------------------


def test_values_of_different_sizes_are_asked_in_batches_of_one_size() -> None:
    rows = np.empty(4, dtype=object)
    rows[:] = [np.arange(2), np.arange(2), np.arange(3), np.arange(2)]
    column = golden.Column.of("ids", rows, column="input")
    asked = Asked([column], Processing(Path("nowhere"), [Field("ids", np.int64, (None, None))], [column.field]))

    assert [part.tolist() for part, _ in asked.batches(np.arange(4), 64)] == [[0, 1], [2], [3]]
    assert sorted(part.tolist() for part, _ in asked.groups(np.arange(4))) == [[0, 1, 3], [2]]
    assert not asked.uniform


def test_fractions_are_no_whole_numbers() -> None:
    processing = Processing(Path("x"), [Field("n", np.int64, (None,))], [Field("n", np.float64, (None,))])

    assert processing.feeds({"n": np.array([2.0])})["n"].tolist() == [2]
    with pytest.raises(BundleError, match="whole numbers"):
        processing.feeds({"n": np.array([2.5])})


def test_an_input_that_comes_from_nowhere_is_named() -> None:
    takes = [Field("a", np.float32, (None, 2)), Field("b", np.float32, (None, 2))]

    with pytest.raises(BundleError, match="b comes from nowhere"):
        Processing(Path("x"), takes, [Field("a", np.float32, (None, 2))])
