"""What may an exit plan hold, for an editor or another program: one JSON Schema."""

from collections.abc import Mapping
from typing import Any

from reversible import registry
from reversible.plan.model import ExitPlan
from reversible.plan.sources import settings_model
from reversible.plan.vocabulary import Vocabulary, vocabulary

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def exit_plan_schema() -> dict[str, Any]:
    """The schema of a whole plan: our own keys, each installed exporter's, and the catalogue's words.

    Raises:
        UsageError: two installed plugins have the same name.
    """
    document = ExitPlan.model_json_schema()
    definitions = document["$defs"]
    ours = definitions.pop("Source")
    kinds = [_source(kind, ours, definitions) for kind in registry.exporter_kinds()]
    definitions["Source"] = {"oneOf": kinds}
    _quote(definitions, document, vocabulary())
    return {"$schema": DRAFT, "title": "reversible exit plan, version 1", **_without(document, "title")}


def _source(kind: str, ours: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, str]:
    """One [source.NAME] of this kind: our keys, and the exporter's beside them."""
    own = settings_model(kind).model_json_schema(ref_template=f"#/$defs/{kind}.{{model}}")
    for name, one in own.pop("$defs", {}).items():
        definitions[f"{kind}.{name}"] = one
    definitions[f"source.{kind}"] = {
        "type": "object",
        "description": own.get("description", ""),
        "properties": {**ours["properties"], **own.get("properties", {}), "kind": {"const": kind}},
        "required": ["kind", *(key for key in own.get("required", ()) if key != "kind")],
        "additionalProperties": False,
    }
    return {"$ref": f"#/$defs/source.{kind}"}


def _quote(definitions: dict[str, Any], document: dict[str, Any], words: Vocabulary) -> None:
    """Put the catalogue's own words where the models only say "text": an editor then offers them."""
    clauses = definitions["Clauses"]["properties"]
    clauses["profiles"]["items"] = {"enum": list(words.profiles)}
    clauses["flags"]["items"] = {"enum": list(words.flags)}
    override, written = definitions["Override"]["properties"], definitions["Document"]["properties"]
    override["clause"]["enum"] = [clause for clause, metrics in words.measured.items() if metrics]
    override["metric"]["enum"] = sorted({metric for metrics in words.measured.values() for metric in metrics})
    written["clause"]["enum"] = [clause for clause, asked in words.documents.items() if asked]
    written["id"]["enum"] = sorted({name for asked in words.documents.values() for name in asked})
    document["properties"]["facts"]["propertyNames"] = {"enum": list(words.facts)}


def _without(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}
