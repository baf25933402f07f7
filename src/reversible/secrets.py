"""Where is the secret, if it must never be written down?

In the environment. A plan writes `${NAME}`; the value is read at the last moment, by the one call that needs it,
and is kept nowhere: not in the model, a `repr`, a pickle, an error message or the evidence.

`Secret` is for a field that holds nothing but a secret: it accepts one reference and refuses anything else.
`Text` is for a field that may hold references inside other text: "postgresql://reader:${SHOP_PASSWORD}@db/shop".
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reversible.errors import UsageError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
    from pydantic_core.core_schema import CoreSchema

REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}"
TEXT_FORMAT = "text-with-references"  # how a JSON Schema tells a Text from other text
_REFERENCE = re.compile(REFERENCE)
_ALMOST = re.compile(r"\$\{")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#\s]*)(\S*)")
_PORT = re.compile(rf"[0-9]*|{REFERENCE}")
# `password=hunter2` in a libpq connection string or a URL's query.
_ASSIGNED = re.compile(
    r"(?i)(?<![a-z])(?:password|passwd|pwd|passphrase|sslpassword|secret|token|signature|sig|(?:secret|shared[_-]?access|access|account|api)[_-]?key"
    r"|(?:session|auth|access)[_-]?token)\s*=\s*(?!\s*(?:\$\{[A-Za-z_][A-Za-z0-9_]*\})\s*(?:$|[&;\s]))(?=[^&;\s])"
)


class Secret:
    """A reference to an environment variable, `${NAME}`, in the place of a secret. It never holds the value.

    `name` is the variable's; `key` is the plan's key that holds the reference, when a plan does.
    """

    __slots__ = ("key", "name")

    name: str
    key: str

    def __init__(self, reference: str, *, key: str = "") -> None:
        """Take a reference.

        Raises:
            ValueError: `reference` is not exactly one `${NAME}`; the message does not repeat what it was.
        """
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise ValueError("a literal secret (not shown)")
        object.__setattr__(self, "name", match[1])
        object.__setattr__(self, "key", key)

    def reveal(self, environ: Mapping[str, str] = os.environ, *, key: str = "") -> str:
        """The secret's value, read now.

        Args:
            environ: Where to look.
            key: What the error message calls the place of this reference, when it is not in a plan.

        Raises:
            UsageError: the variable is not set, or is empty.
        """
        return _variable(self.name, environ, key or self.key)

    def __repr__(self) -> str:
        return f"${{{self.name}}}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Secret, self.name))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Secret does not change: {name}")

    def __getstate__(self) -> dict[str, str]:
        return {"name": self.name, "key": self.key}

    def __setstate__(self, state: Mapping[str, str]) -> None:
        for attribute, value in state.items():
            object.__setattr__(self, attribute, value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.with_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(repr)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{REFERENCE}$", "description": "a reference: ${NAME}, never the secret"}

    @classmethod
    def _validated(cls, found: object, info: "ValidationInfo") -> "Secret":
        from pydantic_core import PydanticCustomError

        if isinstance(found, Secret):
            return found
        try:
            if not isinstance(found, str):
                raise ValueError("a literal secret (not shown)")
            return cls(found, key=_key(info))
        except ValueError as error:
            # The literal goes into no message: pydantic keeps it in `input`, and `plan` never prints that.
            raise PydanticCustomError("literal_secret", "a literal secret is not allowed") from error


class Text(str):
    """Text as the plan writes it, references included: `str()` and `repr` show `${NAME}`, `reveal` the value.

    To constrain a field of this type use an `AfterValidator`: with `pattern=`, pydantic makes a plain `str` of it.
    """

    key: str = ""  # the plan's key that holds the text, when a plan does

    def reveal(self, environ: Mapping[str, str] = os.environ, *, key: str = "") -> str:
        """The text with each reference replaced by its variable's value.

        Raises:
            UsageError: a variable is not set, or is empty.
        """
        return resolve(self, environ, key=key or self.key)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables it refers to, in order."""
        return references(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.with_info_after_validator_function(
            cls._validated, core_schema.str_schema(strict=True), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        return {"type": "string", "format": TEXT_FORMAT, "description": "${NAME} stands for an environment variable"}

    @classmethod
    def _validated(cls, found: str, info: "ValidationInfo") -> "Text":
        from pydantic_core import PydanticCustomError

        if holds_secret(found):
            raise PydanticCustomError("literal_password", "a literal password is not allowed")
        text = cls(found)
        text.key = _key(info)
        return text


def references(text: str) -> tuple[str, ...]:
    """The names of the variables that `text` refers to, in order."""
    return tuple(_REFERENCE.findall(text))


def resolve(text: str, environ: Mapping[str, str] = os.environ, *, key: str = "") -> str:
    """`text` with each `${NAME}` replaced by the variable's value, once: a value is never searched again.

    Raises:
        UsageError: a variable is not set, or is empty; the message names it and `key`.
    """
    return _REFERENCE.sub(lambda match: _variable(match[1], environ, key), text)


def broken_reference(text: str) -> bool:
    """Whether `text` opens a `${` that is not a reference: `${SHOP-URL}` would otherwise be taken as it stands."""
    return len(_ALMOST.findall(text)) != len(_REFERENCE.findall(text))


def holds_secret(text: str) -> bool:
    """Whether `text` carries a password in clear: a URL's user part, or `password=...`.

    A literal user name is no secret, a literal password is. What cannot be parsed but has `:...@` in it counts as
    a password: a refusal costs one variable, a leak costs the password.
    """
    return _ASSIGNED.search(text) is not None or any(_has_password(match[1], match[2]) for match in _URL.finditer(text))


def _key(info: "ValidationInfo") -> str:
    """The plan's key under validation; `context["at"]` is the table's."""
    return ".".join(part for part in ((info.context or {}).get("at", ""), info.field_name or "") if part)


def _has_password(authority: str, rest: str) -> bool:
    user_part, at, _ = authority.rpartition("@")
    if at:
        _, _, password = user_part.partition(":")
        return bool(password) and _REFERENCE.fullmatch(password) is None
    # user:pa/ss@host, not percent-encoded: read as host:port/path by the book, and the password would be shown.
    _, colon, port = authority.rpartition(":")
    return bool(colon) and "@" in rest and _PORT.fullmatch(port) is None


def _variable(name: str, environ: Mapping[str, str], key: str) -> str:
    value = environ.get(name, "")
    if not value:
        what = "is not set" if name not in environ else "is empty"
        where = f"{key}: " if key else ""
        raise UsageError(f"{where}the environment variable {name} {what}", hint=f"export {name}=...")
    return value
