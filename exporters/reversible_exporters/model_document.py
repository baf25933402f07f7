"""What must the destination know of a model beside its graph?

`model.json` names, for each thing that a whole model consists of, the file of the package that is it, or null: what
the vendor never had is missing, and stays missing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reversible.processing import images, terms
from reversible_exporters.conversion import Conversion
from reversible_exporters.model_archive import Member

FORMAT = "reversible-model/1"
_ENVIRONMENT = ("environment.lock", "requirements.lock", "requirements.txt", "conda.yaml", "uv.lock", "poetry.lock")
_PROCESSING = ("preprocessing.json", "preprocessor_config.json", "tokenizer.json")
_LICENCES = ("LICENSE", "LICENCE", "LICENSE.txt", "LICENCE.txt", "LICENSE.md", "LICENCE.md")
# What a converter says beside, where it applies: how the vendor stored the model, what ran, what did not become graph.
_SAID = (
    "form", "architecture", "weights_dtype", "unused_weights", "vendor_code", "state", "constants", "pooling",
    "refused_attempts", "left_out", "parameters", "processing", "notes", "classes", "columns", "categories",
    "missing_text",
)  # fmt: skip
_LIMIT = 1 << 24  # bytes of a card


def build(
    originals: Path,
    members: Sequence[Member],
    converted: Conversion,
    *,
    version: Mapping[str, Any],
    decision: str | None,
    has_evaluation_set: bool,
) -> dict[str, Any]:
    """The document `model.json`, from what came out of the vendor's archive and what the converter said."""
    held = {member.name: f"original/{member.path}" for member in members}
    card = _document(originals, members, "model_card.json")
    described = converted.described
    environment = next((held[name] for name in _ENVIRONMENT if name in held), None)
    config = _document(originals, members, "config.json")  # Hugging Face's
    named = (
        labels(_content(originals, members, "labels.json"))
        or labels_of(card)
        or labels_of({"labels": config.get("id2label")})
        or labels_of({"labels": described.get("classes")})
    )
    return {
        "format": FORMAT,
        "framework": described["framework"],
        "converter": {
            "name": converted.converter,
            "exporter": described["exporter"],
            "fence": converted.fence,
            "attempts": list(converted.attempts),
            "attempts_counted": converted.counted,
            "self_check": described["self_check"],
            "pickled_members": described["pickled_members"],
            **{name: described[name] for name in _SAID if name in described},
        },
        "executed_vendor_code": converted.executed_vendor_code,
        "ir_version": described["ir_version"],
        "opset": described["opset"],
        "domains": described["domains"],
        "inputs": described["inputs"],
        "outputs": described["outputs"],
        "labels": named,
        "decision": decision or card.get("decision"),
        "licence": card.get("licence"),
        "owner": card.get("owner"),
        "lineage": {
            "version": {**version, "name": card.get("version")},
            "training_data": card.get("training_data"),
            "code": [
                {**one, "path": held.get(str(one.get("path")))}
                for one in _list(card.get("code"))
                if isinstance(one, dict)
            ],
            "parameters": card.get("parameters"),
            "environment_lock": environment,
        },
        "declared_metrics": card.get("declared_metrics"),
        "originals": [
            {"name": one.name, "path": f"original/{one.path}", "sha256": one.sha256, "size": one.size}
            for one in members
        ],
        "artifacts": {
            "weights": "model.onnx",
            "graph": "model.onnx",
            "preprocessing": next((held[name] for name in _PROCESSING if name in held), None)
            or next(iter(described.get("processing") or []), None),
            "labels": held.get("labels.json"),
            "settings": "endpoint.json",
            "evaluation_set": "golden/inputs.parquet" if has_evaluation_set else None,
            "environment_lock": environment,
            "licence": next((held[name] for name in _LICENCES if name in held), None),
        },
    }


def labels(content: bytes | None) -> list[str] | None:
    """The names of the classes, in the order of the outputs: a JSON list, or an object index -> name."""
    try:
        document = json.loads(content or b"null")
    except ValueError:
        return None
    if isinstance(document, dict) and set(document) == {str(index) for index in range(len(document))}:
        document = [document[str(index)] for index in range(len(document))]
    if not isinstance(document, list) or not document:
        return None
    return [str(one) for one in document]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def labels_of(card: Mapping[str, Any]) -> list[str] | None:
    return labels(json.dumps(card.get("labels")).encode())


def declares_processing(originals: Path, member: Member) -> bool:
    """Whether a file of the vendor's says in a known form what happens before the model: it travels in processing/."""
    if member.name != "preprocessing.json":
        return False
    return _document(originals, [member], member.name).get("format") in (images.FORMAT, terms.FORMAT)


def _document(originals: Path, members: Sequence[Member], name: str) -> dict[str, Any]:
    content = _content(originals, members, name)
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        return {}  # a card that cannot be read says nothing: every figure it would give is missing
    return document if isinstance(document, dict) else {}


def _content(originals: Path, members: Sequence[Member], name: str) -> bytes | None:
    for member in members:
        if member.name == name and member.size <= _LIMIT:
            return (originals / member.path).read_bytes()
    return None
