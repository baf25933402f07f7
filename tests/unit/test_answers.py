"""Which output of a graph is what the endpoint answered with?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reversible.golden import Column
from reversible.processing.answers import Source, label_of, sources
from reversible.wire import Field

EMBEDDINGS = [
    Field("last_hidden_state", np.float32, (None, None, 4)), Field("pooler_output", np.float32, (None, 4)),
    Field("sentence_embedding", np.float32, (None, 4)),
]  # fmt: skip
LOGITS = [Field("logits", np.float32, (None, 3))]


def recorded(**values: Any) -> list[Column]:
    texts = {name: np.array(rows, dtype=object if isinstance(rows[0], str) else None) for name, rows in values.items()}
    return [Column.of(name, rows, column=name) for name, rows in texts.items()]


def test_of_outputs_of_one_shape_the_nearest_is_meant(tmp_path: Path) -> None:
    answers = {"pooler_output": np.ones((1, 4), np.float32), "sentence_embedding": np.full((1, 4), 0.5, np.float32)}

    found = sources(EMBEDDINGS, recorded(output=[[0.5, 0.5, 0.5, 0.5]] * 2), tmp_path, lambda: answers)

    assert found == {"output": Source("sentence_embedding")}
    assert sources(EMBEDDINGS, recorded(pooler_output=[[0.5] * 4]), tmp_path, lambda: answers) == {
        "pooler_output": Source("pooler_output")
    }


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, "softmax"),
        ({"architectures": ["BertForSequenceClassification"], "problem_type": "multi_label_classification"}, "sigmoid"),
        ({"architectures": ["BertModel"]}, ""),
        (None, ""),
    ],
)
def test_probabilities_of_logits_are_made_as_the_configuration_says(
    tmp_path: Path, config: Any, activation: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    shares = sources(LOGITS, recorded(output=[[0.2, 0.3, 0.5]]), tmp_path)
    raw = sources(LOGITS, recorded(output=[[-2.0, 0.3, 5.0]]), tmp_path)
    score = sources(LOGITS, recorded(label=["a"], score=[0.5]), tmp_path)

    assert shares == {"output": Source("logits", activation)}
    assert raw == {"output": Source("logits")}
    assert score == {"score": Source("logits", activation, decided=True)}


def test_a_whole_number_is_a_class_only_where_the_graph_has_a_number_for_each() -> None:
    classes = recorded(output=[1, 0, 2])
    ranks = [Field("scores", np.float32, (None, 4)), Field("rank", np.int64, (None,))]

    assert label_of(LOGITS, classes) is classes[0]
    assert label_of(ranks, classes) is None
    assert label_of([Field("value", np.float32, (None, 1))], classes) is None
    assert label_of(LOGITS, recorded(output=[1.0, 0.0])) is None


def test_what_was_done_to_an_output_is_done_in_its_own_precision() -> None:
    logits = np.array([[1.0, 2.0, 4.0], [-80.0, 0.0, 90.0]], np.float32)

    found = Source("logits", "softmax", decided=True).of(logits)

    assert found.dtype == np.float32
    assert found.shape == (2, 1)
    assert found[0, 0] == pytest.approx(np.exp(4) / np.exp([1, 2, 4]).sum(), rel=1e-6)
    assert Source("logits", "sigmoid").of(logits)[1, 0] == pytest.approx(0, abs=1e-30)
