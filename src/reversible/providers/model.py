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

    source: str | None = Field(
        default=None, description="where this is from: a row of the catalogue's sources, or a sentence over several"
    )
    as_of: str | None = Field(default=None, description="of when it is")
    confidence: Confidence | None = Field(default=None, description="how sure it is")
    note: str | None = Field(default=None, description="what else must be said of it")


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

    entity: str = Field(description="the company one contracts with")
    hq_country: Country = Field(description="where it sits")
    ultimate_parent: str = Field(description="who owns it in the end")
    parent_country: Country = Field(description="where its owner sits")


class Words(_Fact):
    """A fact that is a sentence."""

    text: str = Field(description="the fact")


class NameChange(_Fact):
    """The name in use has changed; the sources say so."""


class SecNumCloud(_Fact):
    """What the sources say of the SecNumCloud qualification: of which services, and of which not."""

    status: Literal["qualified", "qualified_for_some", "in_progress", "none", "not_seen"] = Field(
        description="how far the qualification is"
    )
    services: tuple[str, ...] = Field(default=(), description="of which services")
    not_covered: str | None = Field(default=None, description="which services it leaves out")
    version: str | None = Field(default=None, description="of which version of the rules")
    since: str | None = Field(default=None, description="since when")


class Award(_Fact):
    """The Commission's sovereign-cloud framework of 2026."""

    status: str = Field(description="won, or part of a winner")


class Endpoint(_Fact):
    """One S3 address. `eu`: its country is a Member State of the Union."""

    region: str = Field(description="as the provider names it")
    host: str = Field(description="the address")
    country: Country = Field(description="ISO 3166-1")
    eu: bool = Field(description="whether that is a Member State of the Union")


class S3(_Fact):
    """The S3 storage, and what a client must know of it. `pattern`: each customer has a host of its own."""

    addressing: str | None = Field(default=None, description="bucket in the host name, in the path, or either")
    signature: str | None = Field(default=None, description="of requests")
    pattern: str | None = Field(default=None, description="the form of its hosts, where each customer has another")
    quirks: dict[str, int | bool | str] = Field(default={}, description="what a client must know, by name")
    endpoints: tuple[Endpoint, ...] = Field(default=(), description="the addresses")


class Metadata(_Fact):
    """The instance metadata service: root on the host can forge it."""

    url: str | None = Field(default=None, description="over IPv4; null: there is none")
    ipv6: str | None = Field(default=None, description="over IPv6")
    fields: tuple[str, ...] = Field(default=(), description="what its answer holds")
    header: str | None = Field(default=None, description="what a request must carry")
    token: str | None = Field(default=None, description="how a token is asked for first")
    example_zone: str | None = Field(default=None, description="a zone as it names one")
    example: dict[str, str] = Field(default={}, description="an answer")


class Firmware(_Fact):
    """SMBIOS strings; `distinctive`: they name this provider, and not the software below it."""

    sys_vendor: str | None = Field(default=None, description="the vendor")
    product_name: str | tuple[str, ...] | None = Field(default=None, description="the product, or several")
    product_serial: str | None = Field(default=None, description="what stands for its serial number")
    chassis_asset_tag: str | None = Field(default=None, description="the asset tag")
    uuid_prefix: str | None = Field(default=None, description="how its UUID begins")
    distinctive: bool = Field(
        default=False, description="whether they name this provider, and not the software below it"
    )


class Networks(_Fact):
    """Autonomous systems that its public addresses belong to."""

    values: tuple[int, ...] = Field(description="numbers of autonomous systems")


class Api(_Fact):
    """The provider's own API."""

    host: str = Field(description="the host")
    path: str | None = Field(default=None, description="where it tells of one server")


class SignedIdentity(_Fact):
    """Whether the provider signs who a host is."""

    available: bool = Field(description="whether there is one")
    path: str | None = Field(default=None, description="where")


class Identity(_Row):
    """How a host shows where it is."""

    imds: Metadata | None = Field(default=None, description="instance metadata")
    dmi: Firmware | None = Field(default=None, description="firmware")
    asn: Networks | None = Field(default=None, description="networks")
    api: Api | None = Field(default=None, description="the provider's API")
    signed_identity: SignedIdentity | None = Field(default=None, description="an identity that the provider signs")


class Retention(_Row):
    """How long one service keeps data after the end, in days; None: it does not say."""

    service: str = Field(description="which one")
    retention_days: int | None = Field(default=None, ge=0, description="days after the end; null: not said")
    migration_fee: float | None = Field(default=None, description="what leaving costs, EUR")
    text: str | None = Field(default=None, description="in its words")

    @property
    def below_floor(self) -> bool:
        """Shorter than the Data Act's floor; a contract may grant more than a published policy."""
        return self.retention_days is not None and self.retention_days < RETENTION_FLOOR_DAYS


class Policy(_Fact):
    """What the provider publishes about leaving it."""

    url: str = Field(description="the page")
    form: str = Field(description="of which form it is")
    values: tuple[Retention, ...] = Field(description="by service")
    caution: str = Field(description="how it is to be read")


class Price(_Row):
    """One step of a price list; exactly one of the bounds, in TB a month."""

    up_to_tb: float | None = Field(default=None, description="for the TB of a month up to this")
    above_tb: float | None = Field(default=None, description="for the TB of a month above this")
    price: float = Field(description="USD per GB")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.up_to_tb is None) == (self.above_tb is None):
            raise ValueError("up_to_tb or above_tb, one of them")
        return self


class Egress(_Fact):
    """What it costs to take data out. Prices in USD per GB, before any agreement."""

    text: str | None = Field(default=None, description="in a sentence")
    list_price_usd_per_gb: tuple[Price, ...] = Field(default=(), description="the price list")
    free_gb_per_month: float | None = Field(default=None, description="GB that cost nothing")
    exit_programme: Words | None = Field(default=None, description="what is waived for a customer who leaves")
    data_act_parallel: Words | None = Field(default=None, description="what is reduced for a customer who uses two")


class Partitions(_Fact):
    """AWS's separate clouds, and the domain of each: aws-eusc is not a region of aws."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    aws: str = Field(description="the common one")
    eusc: str = Field(alias="aws-eusc", description="the European sovereign one")
    cn: str = Field(alias="aws-cn", description="China")
    us_gov: str = Field(alias="aws-us-gov", description="the US government's")


class Regions(_Fact):
    """Region -> country, by what it means for an EU clause; `other` are outside Europe, their country not looked up."""

    eu: dict[str, Country] = Field(description="in the Union")
    eu_sovereign_partition: dict[str, Country] = Field(
        default={}, description="in the Union, in a partition of its own"
    )
    europe_not_eu: dict[str, Country] = Field(default={}, description="in Europe, outside the Union")
    other: tuple[str, ...] = Field(default=(), description="outside Europe")
    multi_region: dict[str, str] = Field(default={}, description="names that stand for several")
    trap: str | None = Field(default=None, description="what is easily misread")

    def country(self, region: str) -> str | None:
        """The country of a region whose country was looked up."""
        return {**self.eu, **self.eu_sovereign_partition, **self.europe_not_eu}.get(region)

    def __contains__(self, region: object) -> bool:
        return region in {*self.eu, *self.eu_sovereign_partition, *self.europe_not_eu, *self.other}


class Technology(_Fact):
    """Whose technology it runs on, where that is another one's."""

    vendor: str = Field(description="whose")
    vendor_country: Country = Field(description="where that one sits")


class Provider(_Row):
    """One provider: a source to leave, a destination, or both."""

    id: Annotated[str, StringConstraints(pattern="^[a-z0-9]+$")] = Field(description="its name in commands")
    name: str = Field(description="its name")
    roles: tuple[Literal["source", "destination", "us_technology"], ...] = Field(
        min_length=1, description="what it is here for"
    )
    legal: Legal = Field(description="who owns it")
    legal_note: Words | None = Field(default=None, description="what else is known of that")
    name_change: NameChange | None = Field(default=None, description="the name is new")
    secnumcloud: SecNumCloud | None = Field(default=None, description="the French qualification")
    cloud_iii_2026: Award | None = Field(default=None, description="the Commission's award")
    technology: Technology | None = Field(default=None, description="whose technology it runs on")
    s3: S3 | None = Field(default=None, description="its S3 storage")
    partitions: Partitions | None = Field(default=None, description="separate clouds of one provider")
    regions: Regions | None = Field(default=None, description="its regions")
    identity: Identity = Field(description="how a host shows that it is there")
    reversibility_policy: Policy | None = Field(default=None, description="what it publishes about leaving")
    egress: Egress | None = Field(default=None, description="what taking data out costs")
    note: str | None = Field(default=None, description="what else must be said of it")


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
