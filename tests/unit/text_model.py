"""A French text classifier behind an endpoint, made in a moment: scikit-learn's counts, weights drawn from a seed.

The vendor's side counts with scikit-learn itself; what travels is the rules as data. `vendor` says how the service
reads its texts, `carried` what the package says of it: where they differ, the model is another.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.feature_extraction.text import CountVectorizer

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.interfaces import Witness
from reversible_exporters import golden_probes, golden_set, model_reference
from reversible_exporters.golden_questions import Questions

ASSET = Asset(source="models", kind=Kind.MODEL, name="avis")
AT = datetime(2026, 11, 27, tzinfo=UTC)
LABELS = ["négatif", "neutre", "positif"]
_WORDS = [
    "été",
    "Été",
    "crème",
    "CAFÉ",
    "à",
    "la",
    "œuvre",
    "déçu",
    "génial",
    "livraison",
    "Noël",
    "prix",
    "très",
    "cher",
]


def texts(count: int = 120) -> list[str]:
    draw = np.random.default_rng(1)
    return [" ".join(draw.choice(_WORDS, int(draw.integers(1, 8)))) for _ in range(count)]


def graph(terms: int) -> onnx.ModelProto:
    """(n, terms) counts -> (n, 3) probabilities."""
    draw = np.random.default_rng(2)
    tensors = [
        numpy_helper.from_array(draw.normal(0, 1, (terms, 3)).astype(np.float32), "weights"),
        numpy_helper.from_array(draw.normal(0, 0.3, 3).astype(np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Gemm", ["text_terms", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    made = helper.make_graph(
        nodes, "avis",
        [helper.make_tensor_value_info("text_terms", TensorProto.FLOAT, ["n", terms])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        tensors,
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def write(
    root: Path,
    *,
    vendor: dict[str, Any] | None = None,
    carried: dict[str, Any] | None = None,
    answers: str = "label and probabilities",
    refuses_empty: bool = False,
    kept: bool = True,
    count: int = 120,
) -> Bundle:
    """The bundle.

    `answers` may be "label and score", "probabilities", "label alone" or "class" (its number) too; `kept` says
    whether a reference travels.
    """
    own = CountVectorizer(lowercase=True, token_pattern=r"(?u)\b\w+\b").fit([*texts(), *map(str.upper, texts())])
    vocabulary = sorted(own.vocabulary_, key=own.vocabulary_.__getitem__)
    usual = {"lowercase": True, "token_pattern": r"(?u)\b\w+\b", "vocabulary": vocabulary}
    service = CountVectorizer(**{**usual, **(vendor or {})})
    model = graph(len(vocabulary))
    from onnxruntime import InferenceSession

    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def ask(body: bytes, content_type: str) -> golden_set.Answer:
        if content_type != "application/json":
            raise golden_set.RefusedError("not served", status=415)
        given = json.loads(body)["instances"]
        if refuses_empty and not all(text.strip() for text in given):
            raise golden_set.RefusedError("an empty text has no answer", status=400)
        (found,) = session.run(None, {"text_terms": service.transform(given).toarray().astype(np.float32)})
        named = [LABELS[one] for one in found.argmax(axis=1)]
        rows: list[Any] = found.tolist()
        if answers == "label and score":
            rows = [{"label": name, "score": max(row)} for name, row in zip(named, rows, strict=True)]
        elif answers == "label alone":
            rows = list(named)
        elif answers == "class":
            rows = found.argmax(axis=1).tolist()
        elif answers == "label and probabilities":
            rows = [{"label": name, "probabilities": row} for name, row in zip(named, rows, strict=True)]
        return golden_set.Answer(
            body=json.dumps({"predictions": rows}).encode(), content_type="application/json", status=200,
            latency_s=0.001, request_id="1", variant="AllTraffic",
        )  # fmt: skip

    rules = {
        "format": "reversible-text/1", "input": "text_terms", "column": "text", "analyzer": "word", "lowercase": True,
        "strip_accents": None, "token_pattern": r"(?u)\b\w+\b", "ngram_range": [1, 1], "stop_words": None,
        "binary": False, "unicode": "14.0.0", "vocabulary": vocabulary, **(carried or {}),
    }  # fmt: skip
    given = np.array(texts(count), dtype=object)
    about = {"labels": (None,) * len(given), "origins": ("given",) * len(given), "sha256": "0" * 64}
    questions = golden_probes.add(Questions.of({"text": given}, **about))
    writer = BundleWriter(root)
    with writer.part(f"{ASSET.folder}/model.onnx") as stream:
        stream.write(model.SerializeToString())
    writer.put_json(f"{ASSET.folder}/processing/text_terms.json", rules)
    writer.put_json(f"{ASSET.folder}/model.json", {"labels": LABELS, "decision": "argmax"})
    golden_set.record(
        questions, ask, endpoint="avis", batch_size=32, about={"region": "eu-west-3"}, folder=ASSET.folder, into=writer
    )
    if kept:
        assert model_reference.keep(folder=ASSET.folder, into=writer)
    else:
        model_reference.put_tensors(folder=ASSET.folder, into=writer)
    answered, _ = golden_set.sample(questions, ask, endpoint="avis", count=30, seed="witness")
    writer.put_witness(ASSET, Witness(method="asked again", facts={"labels": LABELS}, tables={"answers": answered}))
    writer.close_asset(ASSET, exporter="sagemaker", at=AT)
    return writer.finish(about={"sources": []}, at=AT)
