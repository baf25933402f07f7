"""Is a document that --json printed what docs/json/ says of it?"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = Path(__file__).parents[1] / "docs/json"
SUFFIX = ".schema.json"


@cache
def schemas() -> dict[str, Any]:
    """By verb: "dry-run", "evidence-verify"."""
    return {path.name.removesuffix(SUFFIX): json.loads(path.read_bytes()) for path in sorted(FOLDER.glob(f"*{SUFFIX}"))}


@cache
def _registry() -> Registry[Any]:
    found = [(f"{verb}{SUFFIX}", Resource.from_contents(schema)) for verb, schema in schemas().items()]
    return Registry().with_resources(found)


def parsed(verb: str, text: str | bytes) -> Any:
    """The one document in `text`, once it is shown to be of the verb's schema.

    Raises:
        jsonschema.ValidationError: it is not.
        ValueError: it is not exactly one JSON document.
    """
    document = json.loads(text, parse_constant=_refused)
    Draft202012Validator(schemas()[verb], registry=_registry()).validate(document)
    return document


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
