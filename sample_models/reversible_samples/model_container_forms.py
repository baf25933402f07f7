"""How do containers answer that take texts, several values or images?

`serving.json` beside the model says how: `takes` ("texts", "objects", "image"), `answers` ("label and probabilities",
"label and score", "outputs") and, for a model of several inputs, their `inputs` in order with their types and the
names of its `outputs`. What a vendor does in its own code before and after the model is done here, in the model's own
framework, and shares nothing with what the destination does.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = Mapping[str, Sequence[Any]]
Predict = Callable[[Any], dict[str, NDArray[Any]]]
Reply = Callable[[bytes, str], bytes]


def load(folder: Path) -> Reply:
    """The container of a folder with a `serving.json`: a request's body and content type -> the answer, as JSON."""
    how = json.loads((folder / "serving.json").read_bytes())
    labels = json.loads((folder / "labels.json").read_bytes()) if (folder / "labels.json").is_file() else []
    predict = _predict(folder, how)
    one_at_a_time = threading.Lock()

    def reply(body: bytes, content_type: str) -> bytes:
        given = _given(body, content_type.partition(";")[0].strip().lower(), how)
        with one_at_a_time:
            answers = predict(given)
        rows = _rows(answers, labels, how["answers"])
        document: Any = rows if how.get("toolkit") else {"predictions": rows}
        return json.dumps(document, ensure_ascii=False).encode()

    return reply


def _given(body: bytes, kind: str, how: Mapping[str, Any]) -> Any:
    """What the model is asked, in Python's own types."""
    if how["takes"] == "image":
        if kind not in ("application/x-image", "image/png"):
            raise LookupError(kind)
        return body
    if kind != "application/json":
        raise LookupError(kind)
    document = json.loads(body)
    key = "inputs" if how.get("toolkit") else "instances"
    rows = document.get(key) if isinstance(document, dict) else None
    if isinstance(rows, str):
        rows = [rows]
    if not isinstance(rows, list) or not rows:
        raise ValueError(f'expected {{"{key}": [...]}}')
    if how["takes"] == "texts":
        if not all(isinstance(row, str) for row in rows):
            raise ValueError("each entry is a text")
        if how.get("refuses_empty") and not all(row.strip() for row in rows):
            raise ValueError("an empty text has no answer")
        return rows
    return {one["name"]: np.array([row[one["name"]] for row in rows], dtype=one["type"]) for one in how["inputs"]}


def _rows(answers: Mapping[str, NDArray[Any]], labels: Sequence[str], form: str) -> list[Any]:
    if form == "outputs":
        names = list(answers)
        if len(names) == 1:
            return list(answers[names[0]].tolist())
        return [
            dict(zip(names, row, strict=True)) for row in zip(*(one.tolist() for one in answers.values()), strict=True)
        ]
    table = next(iter(answers.values()))
    named = [labels[place] for place in table.argmax(axis=1)]
    if form == "label and score":
        return [{"label": label, "score": float(row.max())} for label, row in zip(named, table, strict=True)]
    return [{"label": label, "probabilities": row.tolist()} for label, row in zip(named, table, strict=True)]


def _predict(folder: Path, how: Mapping[str, Any]) -> Predict:
    if (folder / "model.joblib").is_file():
        return _sklearn(folder / "model.joblib")
    if (folder / "config.json").is_file():
        return _transformers(folder)
    return _torch(folder / "model.pt2", folder, how)


def _sklearn(path: Path) -> Predict:
    import joblib

    model = joblib.load(path)
    return lambda given: {"probabilities": np.asarray(model.predict_proba(given))}


def _transformers(folder: Path) -> Predict:
    import torch
    import transformers

    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
    net = getattr(transformers, config.architectures[0]).from_pretrained(str(folder), local_files_only=True).eval()

    def predict(texts: Any) -> dict[str, NDArray[Any]]:
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            answer = net(**tokens)
        if "logits" in answer:
            return {"probabilities": torch.softmax(answer.logits, dim=-1).numpy()}
        mask = tokens["attention_mask"].unsqueeze(-1).to(answer.last_hidden_state.dtype)
        vector = (answer.last_hidden_state * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return {"embedding": torch.nn.functional.normalize(vector, p=2, dim=1).numpy()}

    return predict


def _torch(path: Path, folder: Path, how: Mapping[str, Any]) -> Predict:
    import torch

    torch.set_num_threads(1)
    net = torch.export.load(str(path)).module()
    names = how["outputs"]

    def predict(given: Any) -> dict[str, NDArray[Any]]:
        tensors = [_image(given, folder)] if how["takes"] == "image" else [
            torch.from_numpy(given[one["name"]]) for one in how["inputs"]
        ]  # fmt: skip
        with torch.no_grad():
            found = net(*tensors)
        listed = found if isinstance(found, tuple) else (found,)
        return {name: one.numpy() for name, one in zip(names, listed, strict=True)}

    return predict


def _image(body: bytes, folder: Path) -> Any:
    """Decoded, scaled and normalised in torch: 1 x channels x height x width."""
    import torch

    from reversible.processing import png  # no other decoder is installed here; PNG leaves nothing to choose

    rules = json.loads((folder / "preprocessing.json").read_bytes())
    pixels = torch.from_numpy(png.decode(body).copy())
    image = pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1).to(torch.float32) * rules["scale"]
    mean, std = (torch.tensor(rules[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
    return ((image - mean) / std).unsqueeze(0)
