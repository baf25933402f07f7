"""Is this file an exit plan, and if not, what is wrong with it, all at once?"""

import hashlib
import json
import math
import re
import shlex
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reversible import registry, secrets
from reversible.errors import UsageError
from reversible.plan import faults as said
from reversible.plan.exit_plan import Plan, json_values
from reversible.plan.faults import Faults
from reversible.plan.keys import check_keys
from reversible.plan.model import ExitPlan, Source
from reversible.plan.places import KeyPath, Places
from reversible.plan.sampling import SamplingSettings
from reversible.plan.sources import settings_model, unread_references
from reversible.plan.vocabulary import vocabulary
from reversible.plan.words import check_words

LARGEST_BYTES = 1 << 20  # a plan is written and read by people
DEEPEST = 32  # tables within tables

_Model = TypeVar("_Model", bound=BaseModel)


def read(path: Path) -> Plan:
    """Read an exit plan whole.

    Raises:
        UsageError: the file cannot be read, is not TOML, or is wrong somewhere; every fault is named, one a line.
    """
    content = _content(path)
    text = _text(path, content)
    document = _toml(path, text)
    places = Places(text)
    faults = Faults(document)
    _check_numbers(document, faults)
    faults.raise_if_any(path, places)  # a number of a million digits cannot even be printed
    _check_values(document, faults)
    check_words(document, faults, vocabulary())  # before the shape: it says more
    written = _check_shape(document, faults)
    settings = _check_sources(document, faults)
    faults.raise_if_any(path, places)
    assert written is not None  # noqa: S101 - what has no shape has a fault
    digest = hashlib.sha256(content).hexdigest()
    return Plan(path=path, sha256=digest, written=written, settings=settings, _document=document)


# --- the file ------------------------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            inside = shlex.quote(str(path / "exit-plan.toml"))
            raise UsageError(f"{path} is a directory, not an exit plan", hint=f"reversible check {inside}")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{path} is not a file", hint=f"ls -l {shlex.quote(str(path))}")
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        name = shlex.quote(str(path))
        raise UsageError(f"{path}: there is no such exit plan", hint=f"reversible init {name}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise UsageError(f"{path}: cannot be read: {reason}", hint=f"ls -l {shlex.quote(str(path))}") from error
    if len(content) > LARGEST_BYTES:
        raise UsageError(
            f"{path}: larger than {LARGEST_BYTES >> 20} MiB, which no exit plan is",
            hint=f"ls -l {shlex.quote(str(path))}",
        )
    return content


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8 text",
            hint=f"iconv -f windows-1252 -t utf-8 {shlex.quote(str(path))}",
        ) from error


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply", hint=said.edit_hint(path, 1)) from error
    except ValueError as error:  # TOMLDecodeError, and what Python's own numbers refuse
        raise _syntax_error(path, text, error) from None  # the cause holds the text of the plan
    if _depth(document) > DEEPEST:
        raise UsageError(f"{path}: nested deeper than {DEEPEST} tables", hint=said.edit_hint(path, 1))
    return document


def _syntax_error(path: Path, text: str, error: ValueError) -> UsageError:
    at = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
    if at is None:
        return UsageError(f"{path}: not TOML: a number or a date that no computer holds", hint=said.edit_hint(path, 1))
    line = int(at[1]) if at[1] else text.count("\n") + 1
    column = f", column {at[2]}" if at[2] else ", at the end of the file"
    return UsageError(f"{path}:{line}: not TOML: {str(error)[: at.start()]}{column}", hint=said.edit_hint(path, line))


def _depth(document: object) -> int:
    depth, layer = 0, [document]
    while layer:
        depth += 1
        layer = [inner for value in layer for inner in _inside(value)]
    return depth - 1


def _inside(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


# --- every value, wherever it stands -------------------------------------------------------------------------------


def _check_numbers(document: Mapping[str, Any], faults: Faults) -> None:
    for path, value in _leaves(document, ()):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            faults.add(path, "found a whole number of more than 64 bits; allowed: a smaller one")


def _check_values(document: Mapping[str, Any], faults: Faults) -> None:
    for path, value in _leaves(document, ()):
        if said.secret_key(path) and not _is_reference(value):
            faults.add(path, said.literal_secret(path))
        elif isinstance(value, str):
            _check_text(path, value, faults)
        elif isinstance(value, float) and not math.isfinite(value):
            faults.add(path, f"found {value}; allowed: a finite number")


def _check_text(path: KeyPath, value: str, faults: Faults) -> None:
    if secrets.holds_secret(value):
        faults.add(path, said.literal_password(path))
    elif secrets.broken_reference(value):
        faults.add(path, "found ${ without a name and }; allowed: ${NAME}, with letters, digits and _")
    elif "\0" in value:
        faults.add(path, "found a NUL character; allowed: text without")


def _leaves(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """Every value that is neither a table nor a list, with its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _leaves(inner, (*path, position))
    else:
        yield path, value


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(secrets.REFERENCE, value) is not None


# --- the shape -----------------------------------------------------------------------------------------------------


def _check_shape(document: Mapping[str, Any], faults: Faults) -> ExitPlan | None:
    """The plan without the exporters' own keys; `_check_sources` reads these."""
    bare = dict(document)
    if isinstance(sources := document.get("source"), Mapping):
        bare["source"] = {
            name: {key: value for key, value in one.items() if key in Source.model_fields}
            if isinstance(one, Mapping)
            else one
            for name, one in sources.items()
        }
    check_keys(bare, ExitPlan.model_json_schema(), (), faults)
    return _validate(ExitPlan, bare, (), faults)


def _check_sources(document: Mapping[str, Any], faults: Faults) -> dict[str, BaseModel]:
    """Each [source.NAME] against the `Settings` of its exporter."""
    sources = document.get("source")
    settings: dict[str, BaseModel] = {}
    for name, source in (sources if isinstance(sources, Mapping) else {}).items():
        if isinstance(source, Mapping) and isinstance(source.get("kind"), str):
            model = _settings_model(source["kind"], ("source", name, "kind"), faults)
            if model is not None and (found := _check_source(name, source, model, faults)) is not None:
                settings[name] = found
    return settings


def _settings_model(kind: str, path: KeyPath, faults: Faults) -> type[BaseModel] | None:
    kinds = registry.exporter_kinds()
    if kind not in kinds:
        faults.add(path, said.not_one_of(path, kind, kinds))
        return None
    try:
        return settings_model(kind)
    except UsageError as error:
        faults.add(path, error.message)
        return None


def _check_source(name: str, source: Mapping[str, Any], model: type[BaseModel], faults: Faults) -> BaseModel | None:
    ours = set(Source.model_fields) - set(model.model_fields)
    own = {key: value for key, value in source.items() if key not in ours}
    path: KeyPath = ("source", name)
    for key in SamplingSettings.model_fields:
        if key in own and key.startswith("sample_") and not issubclass(model, SamplingSettings):
            faults.add((*path, key), f"a {source['kind']} source is always read whole: no sample can be drawn there")
    check_keys(own, model.model_json_schema(), path, faults, also=Source.model_fields)
    settings = _validate(model, own, path, faults)
    for place in unread_references(settings):
        faults.add((*path, *place), "found a reference, which this key does not take; allowed: the text itself")
    return settings


def _validate(model: type[_Model], value: Mapping[str, Any], path: KeyPath, faults: Faults) -> _Model | None:
    """Through JSON, where strict means strict and a list may still become a tuple."""
    content = json.dumps(json_values(value))
    try:
        return model.model_validate_json(content, strict=True, context={"at": said.key_text(path) if path else ""})
    except ValidationError as error:
        faults.add_pydantic(error.errors(include_url=False), under=path)
    return None
