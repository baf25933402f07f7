"""What may an exit plan say? Its shape, in types: what a key means stands beside it.

`[source.NAME]` carries the exporter's own keys too; `reading` gives those to the exporter's `Settings`.
"""

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from reversible.secrets import Secret, Text

Basis = Literal["law", "standard", "supervisor", "contract", "default"]
Language = Literal["fr", "en"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
_COUNTRY = r"^[A-Z]{2}$"
_S3_URL = r"^s3://[^/\s]+(/[^\s]*)?$"
_SHA256 = r"^[0-9a-f]{64}$"
_HTTP_URL = r"^https?://[^\s]+$"
_HOST = r"^[A-Za-z0-9_][A-Za-z0-9._@:%\[\]-]{0,253}$"  # never an option of ssh's
_FOLDER = r"^[A-Za-z0-9./_-]{1,200}$"
_PROVIDER = r"^[a-z0-9]+$"
_OF_SSH = ("host", "ssh_config", "kit", "kit_signer", "folder", "via", "keep", "recheck", "anchor")
PATTERNS_IN_WORDS = {
    _HOST: "a host's name, or user@host",
    _FOLDER: "a path of letters, digits, / . _ and -",
    _PROVIDER: "an id of `reversible providers`",
    _NAME: "a name of at most 63 letters, digits, _ and -",
    _COUNTRY: "two capital letters, such as FR",
    _S3_URL: "s3://bucket/prefix",
    _SHA256: "64 hex digits",
    _HTTP_URL: "https://host, or http://host:port",
}


def _not_blank(text: Text) -> Text:
    if not text.strip():
        raise PydanticCustomError("blank", "text that is not blank")
    return text


def _each_once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({str(item) for item in items if items.count(item) > 1})
    if twice:
        raise PydanticCustomError("twice", "each item once")
    return items


def _inside(path: Text) -> Text:
    if path.startswith(("/", "~")) or "\0" in path or "\\" in path or ":" in path[:2]:
        raise PydanticCustomError("path", "a path relative to the plan's own directory, with / between its parts")
    return path


def _matching(pattern: str) -> tuple[AfterValidator, WithJsonSchema]:
    """What `StringConstraints(pattern=...)` does, but a Text stays a Text."""

    def check(text: Text) -> Text:
        if re.search(pattern, text) is None:
            raise PydanticCustomError("pattern", PATTERNS_IN_WORDS[pattern])
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": pattern})


Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]
Words = Annotated[Text, AfterValidator(_not_blank)]
Names = Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], AfterValidator(_each_once)]
Country = Annotated[str, StringConstraints(pattern=_COUNTRY)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Contract(_Table):
    """The contract whose exit is tested."""

    title: Words
    customer: Words
    provider: Words
    reference: Words | None = None
    signed: Day | None = Field(default=None, description="the day it was signed; leave out before signing")
    languages: Annotated[tuple[Language, ...], AfterValidator(_each_once)] = Field(
        default=("fr", "en"), min_length=1, description="the languages of the reports"
    )


class Override(_Table):
    """A pass mark of this contract, in the place of the catalogue's: sealed before the first byte leaves."""

    clause: str = Field(description="the clause's id in the catalogue: `reversible clauses`")
    metric: str = Field(description="the metric, one that the clause measures")
    value: bool | int | float | str | tuple[str, ...] = Field(description="the new threshold, in the metric's unit")
    basis: Basis = Field(description="where the threshold comes from")
    note: Words | None = None


class Clauses(_Table):
    """Which clauses are judged, and where this contract says something else than the catalogue."""

    profiles: Names = Field(min_length=1, description="catalogue profiles to switch on")
    flags: Names = Field(default=(), description="facts that switch duties off; printed in the report")
    criterion: tuple[Override, ...] = ()


class Document(_Table):
    """A document that a named person read: `DOCUMENTED` at best, never `PROVEN`."""

    id: str = Field(description="the document's id in the catalogue")
    clause: str
    path: Annotated[Words, AfterValidator(_inside)] = Field(description="relative to the plan's directory")
    read_by: Words
    read_on: Day
    opinion: Literal["accepts", "contradicts"]


class Exclusion(_Table):
    """Assets that stay behind on purpose: the report prints the reason."""

    pattern: Words = Field(description="on asset names, * and ? as in a shell; `table:...` to mean one kind only")
    reason: Words


class Canary(_Table):
    """A row or an object that the customer planted at the source before the run: it must arrive as it was planted."""

    asset: Words = Field(description="the table or bucket, as `reversible inventory` names it")
    row: dict[str, bool | int | Text] | None = Field(
        default=None,
        min_length=1,
        description="columns and their values as the source writes them; others do not count",
    )
    null: Names = Field(default=(), description="columns of the row that are NULL")
    key: Text | None = Field(default=None, description="an object's key")
    sha256: Annotated[Text, *_matching(_SHA256)] | None = Field(default=None, description="of the object's bytes")

    @model_validator(mode="after")
    def _a_row_or_an_object(self) -> Self:
        if (self.row is None) == (self.key is None) or (self.key is None) != (self.sha256 is None):
            raise PydanticCustomError("pair", "row, or key and sha256 together")
        if self.null and (self.row is None or set(self.null) & set(self.row)):
            raise PydanticCustomError("pair", "null with the columns of row that have no value there")
        return self


class Source(_Table):
    """One system of the vendor's. The exporter's own keys stand beside these."""

    kind: str = Field(description="which exporter reads it: `reversible exporters`")
    include: Annotated[tuple[Words, ...], AfterValidator(_each_once)] = Field(
        default=(Text("*"),), min_length=1, description="patterns on asset names; everything when left out"
    )
    exclude: tuple[Exclusion, ...] = Field(default=(), description="stronger than include")
    canary: tuple[Canary, ...] = Field(default=(), description="what was planted there before the run")


class Storage(_Table):
    """Where the bundle is shipped to, and read back from."""

    url: Annotated[Text, *_matching(_S3_URL)] = Field(description="s3://bucket/prefix", examples=["s3://sortie/exit"])
    region: Words = Field(description="the region's name; never guessed, S3 servers differ")
    endpoint_url: Annotated[Text, *_matching(_HTTP_URL)] | None = Field(
        default=None, description="the provider's S3 address; AWS when left out"
    )
    ca_bundle: Words | None = Field(
        default=None, description="PEM file of the authority of its certificate; AWS_CA_BUNDLE when left out"
    )
    access_key: Secret | None = None
    secret_key: Secret | None = None

    @model_validator(mode="after")
    def _both_keys_or_none(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise PydanticCustomError("pair", "access_key and secret_key together, or neither")
        return self


class Destination(_Table):
    """The independent European provider, or what stands in for it."""

    kind: Literal["local", "ssh"] = Field(
        default="local", description="local: this machine, behind a fence; ssh: a host of yours at the provider"
    )
    country: Country | None = Field(default=None, description="ISO 3166-1, two capital letters")
    storage: Storage | None = Field(default=None, description="left out: the bundle stays in the run's own directory")
    provider: Annotated[str, StringConstraints(pattern=_PROVIDER)] | None = Field(
        default=None, description="whose host it is: an id of `reversible providers`; held against what the host shows"
    )
    host: Annotated[str, StringConstraints(pattern=_HOST)] | None = Field(
        default=None, description="ssh: the host, as `ssh` takes it: a name of ~/.ssh/config, or user@host"
    )
    ssh_config: Annotated[Words, AfterValidator(_inside)] | None = Field(
        default=None, description="ssh: a file in the place of ~/.ssh/config, relative to the plan's directory"
    )
    kit: Annotated[Words, AfterValidator(_inside)] | None = Field(
        default=None, description="ssh: the folder that `reversible kit build` made, relative to the plan's directory"
    )
    kit_signer: Annotated[Text, *_matching(_SHA256)] | None = Field(
        default=None, description="ssh: fingerprint of the key that signed the kit; this machine's when left out"
    )
    folder: Annotated[str, StringConstraints(pattern=_FOLDER)] = Field(
        default=".reversible", description="ssh: where to work there, below the user's home unless it begins with /"
    )
    via: Literal["storage", "ssh"] | None = Field(
        default=None, description="ssh: how the bundle gets there; by the storage where there is one, when left out"
    )
    keep: bool = Field(default=False, description="ssh: leave kit and bundle there for the next run")
    recheck: bool = Field(
        default=True, description="ssh: verify here, too: what the host alone says then proves nothing on the bundle"
    )
    anchor: Words | None = Field(
        default=None, description="ssh: the city in the Union where this machine is; the round trip bounds the distance"
    )

    @model_validator(mode="after")
    def _what_its_kind_needs(self) -> Self:
        if self.kind == "ssh" and (self.host is None or self.kit is None):
            raise PydanticCustomError("pair", "host and kit, where kind is ssh")
        if self.kind == "ssh" and self.via == "storage" and self.storage is None:
            raise PydanticCustomError("pair", "storage, where via is storage")
        if self.kind == "local":
            foreign = sorted(set(_OF_SSH) & self.model_fields_set)
            if foreign:
                raise PydanticCustomError("pair", 'kind = "ssh" with {keys}', {"keys": ", ".join(foreign)})
        return self


class Exit(_Table):
    """The written plan that GOV-01 asks for. What is left out is counted, and GOV-01 says so."""

    triggers: tuple[Words, ...] = Field(default=(), description="what sets the exit off")
    scenarios: tuple[Words, ...] = Field(default=(), description="planned and stressed exits")
    roles: dict[str, Words] = Field(default={}, description="who does, who decides")
    alternatives: tuple[Words, ...] = Field(default=(), description="where to go")
    steps: tuple[Words, ...] = ()
    success_criteria: tuple[Words, ...] = ()
    duration_hours: float | None = Field(default=None, gt=0, description="how long the whole exit takes")
    next_rehearsal: Day | None = None


class ExitPlan(_Table):
    """An exit plan: which contract, what must leave, where to, and what counts as success."""

    version: Literal[1]
    contract: Contract
    clauses: Clauses
    facts: dict[str, bool | int | float | tuple[str, ...]] = Field(
        default={}, description="numbers that a person read in the contract: catalogue metrics; they never prove"
    )
    document: tuple[Document, ...] = ()
    source: dict[Annotated[str, StringConstraints(pattern=_NAME)], Source] = Field(min_length=1)
    destination: Destination
    exit: Exit = Exit()
