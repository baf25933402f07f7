"""Which keys does an exporter read?"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from reversible import registry, secrets
from reversible.errors import UsageError
from reversible.plan.places import KeyPath


def settings_model(kind: str) -> type[BaseModel]:
    """The `Settings` of an installed exporter.

    Raises:
        UsageError: no exporter has that name, or its package is broken.
    """
    try:
        return registry.exporter(kind).Settings
    except (ImportError, AttributeError, SyntaxError) as error:
        raise UsageError(
            f"the exporter {kind} is installed but cannot be loaded: {error}",
            hint="pip check",
        ) from error


def unread_references(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The keys whose text holds a `${NAME}` that nobody would ever replace: a field that is neither Secret nor Text.

    An exporter would look for a bucket called "${BUCKET}", and might not find fault with an empty answer.
    """
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from unread_references(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from unread_references(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from unread_references(inner, (*path, position))
    elif isinstance(value, str | Path) and not isinstance(value, secrets.Text) and secrets.references(str(value)):
        yield path
