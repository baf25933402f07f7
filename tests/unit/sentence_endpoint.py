"""A real sentence model behind Hugging Face's toolkit, served by transformers: asked in words, and left."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import transformers

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.interfaces import Witness
from reversible_exporters import golden_set, model_reference
from reversible_exporters.golden_questions import Questions

ASSET = Asset(source="models", kind=Kind.MODEL, name="sentences")
AT = datetime(2026, 11, 27, tzinfo=UTC)


def endpoint(source: Path, most: int) -> golden_set.Ask:
    """Words in, one vector for each text out: the tokens' mean, of length 1."""
    words = transformers.AutoTokenizer.from_pretrained(source)
    net = transformers.AutoModel.from_pretrained(source, dtype=torch.float32).eval()

    def ask(body: bytes, content_type: str) -> golden_set.Answer:
        document = json.loads(body) if content_type == "application/json" else {}
        if "inputs" not in document:
            raise golden_set.RefusedError("expected inputs", status=400)
        tokens = words(document["inputs"], padding=True, truncation=True, max_length=most, return_tensors="pt")
        with torch.no_grad():
            found = net(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(found.dtype)
        vector = torch.nn.functional.normalize((found * mask).sum(1) / mask.sum(1).clamp(min=1e-9), p=2, dim=1)
        return golden_set.Answer(
            body=json.dumps(vector.tolist()).encode(), content_type="application/json", status=200, latency_s=0.01,
            request_id="1", variant="AllTraffic",
        )  # fmt: skip

    return ask


def write(root: Path, converted: Path, source: Path, texts: list[str], *, most: int) -> Bundle:
    """The bundle of a converted model: `model.onnx` and `processing/` in a folder of their own."""
    ask = endpoint(source, most)
    about = {"labels": (None,) * len(texts), "origins": ("given",) * len(texts), "sha256": "0" * 64}
    questions = golden_set.try_forms(Questions.of({"text": np.array(texts, dtype=object)}, **about), ask, "sentences")
    with BundleWriter(root) as writer:
        for path in [*converted.glob("model.onnx*"), *(converted / "processing").iterdir()]:
            with writer.part(f"{ASSET.folder}/{path.relative_to(converted).as_posix()}") as stream:
                stream.write(path.read_bytes())
        writer.put_json(f"{ASSET.folder}/model.json", {"labels": None, "decision": "value"})
        golden_set.record(
            questions, ask, endpoint="sentences", batch_size=8, about={}, folder=ASSET.folder, into=writer
        )
        assert model_reference.keep(folder=ASSET.folder, into=writer)
        answers, _ = golden_set.sample(questions, ask, endpoint="sentences", count=8, seed="witness")
        writer.put_witness(ASSET, Witness(method="asked again", facts={"labels": None}, tables={"answers": answers}))
        writer.close_asset(ASSET, exporter="sagemaker", at=AT)
        return writer.finish(about={"sources": []}, at=AT)
