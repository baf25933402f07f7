"""Every form in which model servers are asked and answer is read exactly, and nothing else is taken for one."""

import io
import json
from typing import Any

import numpy as np
import pytest

from reversible import wire
from reversible.wire import Field

IDS, MASK, TEXT, IMAGE = (
    Field("ids", np.int64, (None, 3)), Field("mask", np.bool_, (None, 3)), Field("text", np.object_, (None,)),
    Field("image", np.bytes_, (None,)),
)  # fmt: skip


def asked(document: Any, *fields: Field) -> dict[str, Any]:
    return wire.decode(json.dumps(document).encode(), wire.JSON, fields)


def test_objects_hugging_faces_inputs_and_kserves_tensors_say_the_same() -> None:
    ids, mask = [[1, 2, 3], [4, 5, 2**53 + 1]], [[True, False, True], [True, True, True]]
    objects = {"instances": [{"ids": one, "mask": other} for one, other in zip(ids, mask, strict=True)]}
    tensors = {
        "inputs": [
            {"name": "mask", "shape": [2, 3], "datatype": "BOOL", "data": [one for row in mask for one in row]},
            {"name": "ids", "shape": [2, 3], "datatype": "INT64", "data": [one for row in ids for one in row]},
        ]
    }

    for document in (objects, tensors):
        found = asked(document, IDS, MASK)

        assert found["ids"].tolist() == ids
        assert found["ids"].dtype == np.int64
        assert found["mask"].tolist() == mask
        assert found["mask"].dtype == np.bool_
    assert asked({"inputs": "été"}, TEXT)["text"].tolist() == ["été"]
    assert asked({"inputs": ["été", None, ""]}, TEXT)["text"].tolist() == ["été", None, ""]
    assert wire.decode("été\n".encode(), "text/plain; charset=utf-8", [TEXT])["text"].tolist() == ["été\n"]
    assert wire.decode(b"\x89PNG", "application/x-image", [IMAGE])["image"].tolist() == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"instances": [{"ids": [1, 2, 3]}]}, (IDS, MASK)),
        ({"instances": [[1, 2, 3.5]]}, (IDS,)),
        ({"instances": [[1, 2, 2]]}, (MASK,)),
        ({"instances": [["1", "2", "3"]]}, (IDS,)),
        ({"instances": [7]}, (TEXT,)),
        ({"instances": ["/tmp/image.png"]}, (IMAGE,)),
        ({"inputs": [{"name": "ids", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3.5]}]}, (IDS,)),
        ({"inputs": [{"name": "ids", "shape": [1, 4], "datatype": "INT64", "data": [1, 2, 3]}]}, (IDS,)),
    ],
    ids=["one missing", "no whole number", "no truth", "texts", "no text", "no bytes", "fractions", "another size"],
)
def test_what_is_not_what_the_model_takes_is_refused(document: Any, fields: tuple[Field, ...]) -> None:
    with pytest.raises(wire.RequestError):
        asked(document, *fields)


def test_a_content_type_that_a_value_cannot_have_is_not_served() -> None:
    with pytest.raises(wire.UnknownTypeError):
        wire.decode(b"x", "application/x-image", [TEXT])


def answered(document: Any, count: int) -> dict[str, Any]:
    return wire.decode_answers(json.dumps(document).encode(), wire.JSON, count)


def test_answers_keep_their_names_their_types_and_every_digit() -> None:
    rows = [{"label": "été", "score": 0.1, "rank": 2**53 + 1}, {"label": "ÉTÉ", "score": None, "rank": 0}]
    tensors = {
        "outputs": [
            {"name": "p", "shape": [2, 2], "datatype": "FP32", "data": [1, 0, 0.25, 0.75]},
            {"name": "n", "shape": [2], "datatype": "INT64", "data": [3, 4]},
        ]
    }

    for document in ({"predictions": rows}, rows):
        found = answered(document, 2)
        assert found["label"].tolist() == ["été", "ÉTÉ"]
        assert found["score"].dtype == np.float64
        assert found["score"][0] == 0.1
        assert np.isnan(found["score"][1])
        assert found["rank"].tolist() == [2**53 + 1, 0]
    both = answered(tensors, 2)
    assert both["p"].tolist() == [[1.0, 0.0], [0.25, 0.75]]
    assert both["p"].dtype == np.float64
    assert both["n"].dtype == np.int64
    assert answered([[0.5, 0.5]], 1)["output"].tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ({"predictions": [[0.5]]}, 2), ({"predictions": [["0.5"]]}, 1), ({"predictions": {}}, 1), ({"error": "x"}, 1),
        ({"predictions": [{"a": 1}, {"b": 1}]}, 2), ({"predictions": [[1], [1, 2]]}, 2), ("x", 1),
        ({"predictions": []}, 1),
        ({"outputs": [{"name": "p", "shape": [3], "datatype": "FP32", "data": [1, 2]}]}, 3),
    ],
)  # fmt: skip
def test_what_is_no_answer_to_each_input_is_none(document: Any, count: int) -> None:
    with pytest.raises(wire.AnswerError):
        answered(document, count)


def test_numbers_are_read_as_they_were_written() -> None:
    body = b'{"predictions": [{"label": "7", "p": [0.10, 1e-7]}, {"label": "8", "p": [1, 0.123456789]}]}'

    assert wire.written(body, wire.JSON, "p") == ["0.10", "1e-7", "1", "0.123456789"]
    assert wire.written(b"0.50,0.25\n1,0\n", wire.CSV, "output") == ["0.50", "0.25", "1", "0"]
    tensors = b'{"outputs": [{"name": "p", "shape": [1], "datatype": "FP32", "data": [0.5]}]}'
    assert wire.written(tensors, wire.JSON, "p") == ["0.5"]


def test_what_is_encoded_is_decoded_to_the_same_bits() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (5, 3)).astype(np.float32)
    for accept in (wire.JSON, wire.CSV, wire.NPY):
        body, kind = wire.encode({"output": rows}, accept)

        assert wire.decode_answers(body, kind, 5)["output"].astype(np.float32).tobytes() == rows.tobytes()
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(wire.AnswerError):
        wire.decode_answers(stream.getvalue(), wire.NPY, 1)
