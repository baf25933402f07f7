"""Does anybody read this key?

A key that nobody reads is a promise that nobody keeps: `exlude = [...]` would leave everything in scope. The known
keys come from the JSON Schema of the models, so an exporter whose `Settings` would let unknown keys pass is held to
the same rule.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reversible.plan.faults import Faults, unknown_key
from reversible.plan.places import KeyPath

JsonSchema = Mapping[str, Any]


def check_keys(value: object, schema: JsonSchema, path: KeyPath, faults: Faults, *, also: Iterable[str] = ()) -> None:
    """Note every key in `value` that `schema` does not know.

    Args:
        value: What stands at `path`.
        schema: A JSON Schema as pydantic writes it.
        path: Where `value` stands in the plan.
        faults: Where to note them.
        also: Keys that stand at `path` and somebody else reads: they are offered as the nearest one too.
    """
    _walk(value, (schema,), schema, path, faults, tuple(also))


def _walk(
    value: object,
    schemas: Iterable[JsonSchema],
    root: JsonSchema,
    path: KeyPath,
    faults: Faults,
    also: tuple[str, ...] = (),
) -> None:
    options = [option for schema in schemas for option in _options(schema, root)]
    if isinstance(value, Mapping):
        objects = [option for option in options if option.get("type") == "object"]
        known = {key for option in objects for key in option.get("properties", ())}
        for key, inner in value.items():
            below = [found for option in objects for found in _property(option, key)]
            if objects and not below:
                faults.add((*path, key), unknown_key((*path, key), known | set(also)))
            _walk(inner, below, root, (*path, key), faults)
    elif isinstance(value, list):
        below = [option["items"] for option in options if isinstance(option.get("items"), Mapping)]
        for position, inner in enumerate(value):
            _walk(inner, below, root, (*path, position), faults)


def _options(schema: JsonSchema, root: JsonSchema) -> Iterator[JsonSchema]:
    """The schema without references and alternatives."""
    if "$ref" in schema:
        yield from _options(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for word in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(word, ()):
            yield from _options(one, root)
    if not {"$ref", "anyOf", "oneOf", "allOf"} & set(schema):
        yield schema


def _property(option: JsonSchema, key: str) -> Iterator[JsonSchema]:
    """What an object's schema says of one key; nothing when it does not know it."""
    if key in option.get("properties", {}):
        yield option["properties"][key]
        return
    yield from option.get("patternProperties", {}).values()
    free = option.get("additionalProperties", "properties" not in option and "patternProperties" not in option)
    if isinstance(free, Mapping):
        yield free
    elif free:
        yield {}
