"""How does an exit plan start?"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from reversible import registry, secrets
from reversible.plan.faults import variable
from reversible.plan.model import Source
from reversible.plan.sources import settings_model
from reversible.plan.vocabulary import vocabulary

_COMMENT_AT = 36  # the column of the comments


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What is known of the contract before the plan is written."""

    title: str
    customer: str
    provider: str
    kinds: Sequence[str]  # one [source.NAME] for each, named after its kind
    profiles: Sequence[str]


def first_answers(lang: str) -> Answers:
    """What the template says where nobody was asked: every installed exporter, the profile that is always on."""
    french = lang == "fr"
    return Answers(
        title="Contrat d'hébergement" if french else "Hosting contract",
        customer="le client" if french else "the customer",
        provider="le fournisseur" if french else "the provider",
        kinds=registry.exporter_kinds(),
        profiles=("baseline",),
    )


def write(answers: Answers, *, lang: str, plan: str) -> str:
    """A commented exit plan.

    Args:
        answers: What is known already.
        lang: The language of the comments and of the first report: "fr" or "en".
        plan: The file's name, as the commands in its comments should have it.
    """
    words = vocabulary()
    text = (resources.files("reversible.plan") / f"templates/exit-plan.{lang}.toml").read_text(encoding="utf-8")
    values = {
        "PLAN": plan,
        "TITLE": toml(answers.title),
        "CUSTOMER": toml(answers.customer),
        "PROVIDER": toml(answers.provider),
        "LANGUAGES": toml(["fr", "en"] if lang == "fr" else ["en", "fr"]),
        "PROFILES": toml(list(answers.profiles)),
        "PROFILES_KNOWN": ", ".join(words.profiles),
        "FLAGS_KNOWN": ", ".join(words.flags),
        "SOURCES": "\n".join(_source(kind) for kind in answers.kinds),
        "FIRST": answers.kinds[0] if answers.kinds else "NAME",
    }
    return re.sub(r"@([A-Z_]+)@", lambda mark: values[mark[1]], text)


def toml(value: object) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    # JSON's text is TOML's basic string, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _source(kind: str) -> str:
    """[source.KIND] with the exporter's required keys, and its other keys behind a #."""
    schema = settings_model(kind).model_json_schema()
    required = schema.get("required", ())
    lines = [f"[source.{kind}]", f"kind = {toml(kind)}"]
    for key, one in schema.get("properties", {}).items():
        if key not in Source.model_fields:
            value = _placeholder(one, schema, kind, key)
            line = f"{key} = {value}" if key in required else f"# {key} = {value}"
            comment = " ".join(str(one.get("description", "")).split())
            lines.append(f"{line:<{_COMMENT_AT - 1}} # {comment}" if comment else line)
    return "\n".join([*lines, '# include = ["*"]', ""])


def _placeholder(one: Mapping[str, Any], schema: Mapping[str, Any], kind: str, key: str) -> str:
    """A value that the exporter accepts as a shape: its own example, its default, or a reference to a variable."""
    if one.get("examples"):
        return toml(one["examples"][0])
    if one.get("default") is not None:
        return toml(one["default"])
    if "$ref" in one:
        return _placeholder(schema["$defs"][one["$ref"].rpartition("/")[2]], schema, kind, key)
    for branch in one.get("anyOf", one.get("allOf", ())):
        return _placeholder(branch, schema, kind, key)
    if "const" in one or "enum" in one:
        return toml(one.get("const", one.get("enum", [""])[0]))
    reference = toml(f"${{{variable(('source', kind, key))}}}")
    if one.get("type") == "string":
        takes = one.get("format") == secrets.TEXT_FORMAT or one.get("pattern") == f"^{secrets.REFERENCE}$"
        return reference if takes else toml(f"your-{key.replace('_', '-')}")
    by_type = {"boolean": "false", "array": "[]", "object": "{}"}
    if one.get("type") in ("integer", "number"):
        return toml(one.get("minimum", one.get("exclusiveMinimum", 0) + 1))
    return by_type.get(str(one.get("type")), reference)


def references(text: str) -> tuple[str, ...]:
    """The variables that the plan's lines refer to, comments left out, each once."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(dict.fromkeys(name for line in lines for name in secrets.references(line)))
