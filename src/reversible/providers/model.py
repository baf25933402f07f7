"""Which shape has the provider catalogue, in types?

A strict mirror of providers.yaml: an unknown key is refused. `source` names a row of `sources`, or is a sentence over
several of them; where a part has none of its own, the one of the part around it counts.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Confidence = Literal["high", "medium", "low"]
Country = Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")]
RETENTION_FLOOR_DAYS = 30  # Regulation (EU) 2023/2854, article 25(2)(g): at least 30 calendar days after the transition


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Fact(_Row):
    """A part that says where it is from; None: as the part around it."""

    source: str | None = None
    as_of: str | None = None
    confidence: Confidence | None = None
    note: str | None = None


class Source(_Row):
    """Where facts come from. "memory": written from knowledge, so to be looked up before anybody relies on it."""

    what: str
    commit: str | None = None
    date: str
    knowledge: Literal["read", "memory"]


class Signal(_Row):
    """One kind of evidence that a host is at a provider (LOC-01)."""

    en: str
    weight: int = Field(ge=1, le=3)
    forgeable_by_root: bool = False
    authenticated: bool = False
    document: bool = False
    note: str | None = None


class Legal(_Fact):
    """Who owns it, and where."""

    entity: str
    hq_country: Country
    ultimate_parent: str
    parent_country: Country


class Words(_Fact):
    """A fact that is a sentence."""

    text: str


class NameChange(_Fact):
    """The name in use has changed; the sources say so."""


class SecNumCloud(_Fact):
    """What the sources say of the SecNumCloud qualification: of which services, and of which not."""

    status: Literal["qualified", "qualified_for_some", "in_progress", "none", "not_seen"]
    services: tuple[str, ...] = ()
    not_covered: str | None = None
    version: str | None = None
    since: str | None = None


class Award(_Fact):
    """The Commission's sovereign-cloud framework of 2026."""

    status: str


class Endpoint(_Fact):
    """One S3 address. `eu`: its country is a Member State of the Union."""

    region: str
    host: str
    country: Country
    eu: bool


class S3(_Fact):
    """The S3 storage, and what a client must know of it. `pattern`: each customer has a host of its own."""

    addressing: str | None = None
    signature: str | None = None
    pattern: str | None = None
    quirks: dict[str, int | bool | str] = {}
    endpoints: tuple[Endpoint, ...] = ()


class Metadata(_Fact):
    """The instance metadata service: root on the host can forge it."""

    url: str | None = None
    ipv6: str | None = None
    fields: tuple[str, ...] = ()
    header: str | None = None
    token: str | None = None
    example_zone: str | None = None
    example: dict[str, str] = {}


class Firmware(_Fact):
    """SMBIOS strings; `distinctive`: they name this provider, and not the software below it."""

    sys_vendor: str | None = None
    product_name: str | tuple[str, ...] | None = None
    product_serial: str | None = None
    chassis_asset_tag: str | None = None
    uuid_prefix: str | None = None
    distinctive: bool = False


class Networks(_Fact):
    """Autonomous systems that its public addresses belong to."""

    values: tuple[int, ...]


class Api(_Fact):
    """The provider's own API."""

    host: str
    path: str | None = None


class SignedIdentity(_Fact):
    """Whether the provider signs who a host is."""

    available: bool
    path: str | None = None


class Identity(_Row):
    """How a host shows where it is."""

    imds: Metadata | None = None
    dmi: Firmware | None = None
    asn: Networks | None = None
    api: Api | None = None
    signed_identity: SignedIdentity | None = None


class Retention(_Row):
    """How long one service keeps data after the end, in days; None: it does not say."""

    service: str
    retention_days: int | None = Field(default=None, ge=0)
    migration_fee: float | None = None
    text: str | None = None

    @property
    def below_floor(self) -> bool:
        """Shorter than the Data Act's floor; a contract may grant more than a published policy."""
        return self.retention_days is not None and self.retention_days < RETENTION_FLOOR_DAYS


class Policy(_Fact):
    """What the provider publishes about leaving it."""

    url: str
    form: str
    values: tuple[Retention, ...]
    caution: str


class Price(_Row):
    """One step of a price list; exactly one of the bounds, in TB a month."""

    up_to_tb: float | None = None
    above_tb: float | None = None
    price: float

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.up_to_tb is None) == (self.above_tb is None):
            raise ValueError("up_to_tb or above_tb, one of them")
        return self


class Egress(_Fact):
    """What it costs to take data out. Prices in USD per GB, before any agreement."""

    text: str | None = None
    list_price_usd_per_gb: tuple[Price, ...] = ()
    free_gb_per_month: float | None = None
    exit_programme: Words | None = None
    data_act_parallel: Words | None = None


class Partitions(_Fact):
    """AWS's separate clouds, and the domain of each: aws-eusc is not a region of aws."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    aws: str
    eusc: str = Field(alias="aws-eusc")
    cn: str = Field(alias="aws-cn")
    us_gov: str = Field(alias="aws-us-gov")


class Regions(_Fact):
    """Region -> country, by what it means for an EU clause; `other` are outside Europe, their country not looked up."""

    eu: dict[str, Country]
    eu_sovereign_partition: dict[str, Country] = {}
    europe_not_eu: dict[str, Country] = {}
    other: tuple[str, ...] = ()
    multi_region: dict[str, str] = {}
    trap: str | None = None

    def country(self, region: str) -> str | None:
        """The country of a region whose country was looked up."""
        return {**self.eu, **self.eu_sovereign_partition, **self.europe_not_eu}.get(region)

    def __contains__(self, region: object) -> bool:
        return region in {*self.eu, *self.eu_sovereign_partition, *self.europe_not_eu, *self.other}


class Technology(_Fact):
    """Whose technology it runs on, where that is another one's."""

    vendor: str
    vendor_country: Country


class Provider(_Row):
    """One provider: a source to leave, a destination, or both."""

    id: Annotated[str, StringConstraints(pattern="^[a-z0-9]+$")]
    name: str
    roles: tuple[Literal["source", "destination", "us_technology"], ...] = Field(min_length=1)
    legal: Legal
    legal_note: Words | None = None
    name_change: NameChange | None = None
    secnumcloud: SecNumCloud | None = None
    cloud_iii_2026: Award | None = None
    technology: Technology | None = None
    s3: S3 | None = None
    partitions: Partitions | None = None
    regions: Regions | None = None
    identity: Identity
    reversibility_policy: Policy | None = None
    egress: Egress | None = None
    note: str | None = None


class LawDate(_Row):
    """A day from which something is due."""

    date: str
    what: str
    source: str
    confidence: Confidence


class Catalogue(_Row):
    """All of it."""

    schema_: Literal["reversible-providers/1"] = Field(alias="schema")
    as_of: str
    use: str
    sources: dict[str, Source]
    identity_signals: dict[str, Signal]
    rule_LOC01: str  # noqa: N815 - the clause's own name
    eu_member_states: tuple[Country, ...]
    eea_extra: tuple[Country, ...]
    providers: tuple[Provider, ...]
    law_dates: tuple[LawDate, ...]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        ids = [one.id for one in self.providers]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"{twice[0]} stands twice")
        hosts: dict[str, str] = {}
        for provider in self.providers:
            for endpoint in provider.s3.endpoints if provider.s3 else ():
                if endpoint.eu != (endpoint.country in self.eu_member_states):
                    raise ValueError(f"{provider.id} {endpoint.region}: eu is {endpoint.eu}, and {endpoint.country}")
                if (other := hosts.setdefault(endpoint.host, provider.id)) != provider.id:
                    raise ValueError(f"{endpoint.host} is of {other} and of {provider.id}")
            for region, country in provider.regions.eu.items() if provider.regions else ():
                if country not in self.eu_member_states:
                    raise ValueError(f"{provider.id} {region}: {country} is no Member State")
            for region, country in provider.regions.europe_not_eu.items() if provider.regions else ():
                if country in self.eu_member_states:
                    raise ValueError(f"{provider.id} {region}: {country} is a Member State")
        return self
