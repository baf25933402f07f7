"""Where does a storage address lie, by its name alone?

A name is what the provider says, not where the disks are: it warns of a slip (`eu-west-2` is London at AWS and Paris
at Outscale; `eu-` is not the Union), and proves no location.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from reversible.providers.model import Catalogue, Provider

# READ (AWS, "S3 endpoints and quotas"): virtual-hosted, dual-stack, FIPS and access-point names end like this.
_AWS = re.compile(
    r"(?:.+\.)?s3(?:-fips|-accelerate|-accesspoint)?(?:\.dualstack)?(?:[.-](?P<region>[a-z0-9-]+))?\.(?P<domain>%s)"
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What an address says of itself.

    Attributes:
        provider: Its id in the catalogue.
        region: As the provider names it; None where the address does not say.
        country: ISO 3166-1, two capital letters; None where it is not known.
        in_union: Whether that country is a Member State; None where it is not known.
        source, confidence: Where this is known from.
        note: What is easily taken for something else.
    """

    provider: str
    region: str | None
    country: str | None
    in_union: bool | None
    source: str
    confidence: str
    note: str = ""


def place_of(catalogue: Catalogue, *, endpoint_url: str | None, region: str) -> Place | None:
    """The place of an S3 address; None for an address that no row knows.

    Args:
        catalogue: What is known of providers.
        endpoint_url: The address; AWS when None, as for every S3 client.
        region: The region that requests are signed for.
    """
    host = (urlsplit(endpoint_url).hostname or "") if endpoint_url else f"s3.{region}.{_domain(catalogue, region)}"
    for provider in catalogue.providers:
        found = _by_endpoint(provider, host) or _by_pattern(provider, host) or _at_aws(catalogue, provider, host)
        if found is not None:
            return found
    return None


def _by_endpoint(provider: Provider, host: str) -> Place | None:
    s3 = provider.s3
    for one in s3.endpoints if s3 else ():
        if host == one.host or host.endswith(f".{one.host}"):
            assert s3 is not None  # noqa: S101 - it has an endpoint
            return Place(
                provider=provider.id, region=one.region, country=one.country, in_union=one.eu,
                source=one.source or s3.source or "", confidence=one.confidence or s3.confidence or "low",
                note=one.note or "",
            )  # fmt: skip
    return None


def _by_pattern(provider: Provider, host: str) -> Place | None:
    """A host of a form that each customer fills in: the provider is known, its region is not."""
    s3 = provider.s3
    if s3 is None or s3.pattern is None:
        return None
    words = re.split(r"\{[a-z]+\}", s3.pattern.split()[0])
    if not re.fullmatch("[a-z0-9.-]+".join(map(re.escape, words)), host):
        return None
    return Place(
        provider=provider.id, region=None, country=None, in_union=None,
        source=s3.source or "", confidence=s3.confidence or "low",
    )  # fmt: skip


def _at_aws(catalogue: Catalogue, provider: Provider, host: str) -> Place | None:
    if provider.partitions is None or provider.regions is None:
        return None
    part = provider.partitions
    domains = "|".join(re.escape(one) for one in (part.cn, part.eusc, part.aws))
    found = re.fullmatch(_AWS.pattern % domains, host)
    if found is None:
        return None
    region = found["region"] or "us-east-1"  # the one address without a region
    country = provider.regions.country(region)
    known = country is not None or region in provider.regions
    sovereign = region in provider.regions.eu_sovereign_partition
    return Place(
        provider=provider.id, region=region, country=country,
        in_union=country in catalogue.eu_member_states if country else (False if known else None),
        source=provider.regions.source or "", confidence=(provider.regions.confidence or "low") if known else "low",
        note="a partition of its own (aws-eusc)" if sovereign else "",
    )  # fmt: skip


def _domain(catalogue: Catalogue, region: str) -> str:
    """The domain of AWS's partition that has the region."""
    for provider in catalogue.providers:
        if provider.partitions is not None:
            part = provider.partitions
            if region.startswith("eusc-"):
                return part.eusc
            return part.cn if region.startswith("cn-") else part.aws
    return "amazonaws.com"
