"""Whose host is it, and where, by what independent signals say? (LOC-01, LOC-02)

Each signal keeps its raw bytes, says whom it names, and how it could be forged: what a host says of itself, its root
can make up. The rule is the catalogue's `rule_LOC01`: at least three agree, none conflicts, and at least one was given
by the provider itself.
"""

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from reversible import providers
from reversible.bundle.writer import json_bytes
from reversible.destinations.ssh_line import Line, LineLostError
from reversible.errors import ReversibleError
from reversible.findings import Finding, Scalar
from reversible.providers import Place

METRICS = (
    "dest.authenticated_signals",
    "dest.country",
    "dest.identity_signals_agree",
    "dest.identity_signals_conflict",
    "dest.in_eu",
    "dest.rtt_km_upper_bound",
    "dest.same_group_as_source",
)
AGREEING, AUTHENTICATED = 3, 1  # rule_LOC01
KM_PER_MS = 100.0  # light in fibre covers 200 km in 1 ms, there and back 100 km: providers.yaml, rtt_bound
_PINGS = 20
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_DMI = ("sys_vendor", "product_name", "product_version", "chassis_asset_tag", "chassis_vendor", "bios_vendor")
_DMI_FILES = {f"/sys/class/dmi/id/{name}": name for name in _DMI}

_SCALEWAY = "http://169.254.42.42/conf?format=json"
_OPENSTACK = "http://169.254.169.254/openstack/latest/meta_data.json"
_OPENSTACK_LINKS = "http://169.254.169.254/openstack/latest/network_data.json"
_EC2 = "http://169.254.169.254/latest/meta-data/"
_EC2_ZONE = "http://169.254.169.254/latest/meta-data/placement/availability-zone"
_AWS = "http://169.254.169.254/latest/dynamic/instance-identity/document"
_HETZNER = "http://169.254.169.254/hetzner/v1/metadata"
_UPCLOUD = "http://169.254.169.254/metadata/v1.json"
_METADATA = (_SCALEWAY, _OPENSTACK, _OPENSTACK_LINKS, _EC2, _EC2_ZONE, _AWS, _HETZNER, _UPCLOUD)


@dataclass(frozen=True, kw_only=True)
class Echo:
    """A nonce through the provider's regional bucket: the host writes it, we read it back.

    Attributes:
        sign: Gives the address where the host writes, signed by us for this one write.
        read_back: Reads it, by our own client and over its own connection.
        place: Whose storage that is, by its address; None when no row of the catalogue knows it.
        verified_tls: Whether the address is https: both ends then verify its certificate.
    """

    sign: Callable[[], str]
    read_back: Callable[[], bytes]
    place: Place | None
    verified_tls: bool


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What the plan says of the destination, and how its storage can be asked.

    Attributes:
        provider: Its id in the provider catalogue.
        leaving: The provider that is left, as the contract names it.
        anchor: The place in the Union where this machine stands.
        echo: The destination's storage; None when there is none, or when we cannot sign for it.
    """

    provider: str | None = None
    leaving: str = ""
    anchor: str | None = None
    echo: Echo | None = None


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What one kind of evidence says. `names` is a provider's id; `kind` a row of the catalogue's identity_signals."""

    kind: str
    seen: str  # one sentence with {names} that `facts` fills
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    names: str | None = None
    region: str | None = None
    country: str | None = None
    authenticated: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found: the signals as the evidence keeps them, what they were read from, what is measured by them."""

    signals: tuple[dict[str, Any], ...]
    raw: Mapping[str, bytes]
    findings: tuple[Finding, ...]
    simulated: bool
    identified: bool


@dataclass
class _Notes:
    signals: list[Signal] = field(default_factory=list)
    raw: dict[str, bytes] = field(default_factory=dict)
    km: float | None = None
    simulated: bool = True


def look(line: Line, questions: Questions) -> Found:
    """Ask the host, the link, the storage and the clock.

    Raises:
        DestinationError: the line broke. A signal that is not there says nothing, and that is noted.
    """
    notes = _Notes()
    _ask_metadata(line, notes)
    _ask_host(line, notes)
    _ask_storage(line, questions.echo, notes)
    _measure_distance(line, notes)
    return judge(notes.signals, notes.raw, questions, km=notes.km, simulated=notes.simulated)


# --- the signals ------------------------------------------------------------------------------------------------


def _ask_metadata(line: Line, notes: _Notes) -> None:
    answers = line.ask("ask", urls=list(_METADATA))["answers"]
    notes.raw["identity-metadata.json"] = json_bytes(answers)
    bodies = {url: base64.b64decode(one["body"]) for url, one in answers.items() if one.get("status") == 200}
    notes.signals.append(read_metadata(bodies))


def read_metadata(bodies: Mapping[str, bytes]) -> Signal:
    """Whom the answers of the metadata services name. `bodies`: the answers with status 200, by address."""
    kind = "imds_content"
    named = sorted(set(_names_in_metadata(bodies)))
    if not bodies:
        return Signal(kind=kind, seen="no instance metadata service answered")
    if not named:
        shape = "OpenStack" if _OPENSTACK in bodies else "EC2" if _EC2 in bodies else "-"
        seen = "the instance metadata names no provider; its form is that of {form}"
        return Signal(kind=kind, seen=seen, facts={"form": shape})
    if len({name for name, _, _ in named}) > 1:
        seen = "the instance metadata of several providers answered, of which one at most can be true: {providers}"
        return Signal(kind=kind, seen=seen, facts={"providers": ", ".join(one[0] for one in named)}, names="several")
    name, region, sign = named[0]
    return Signal(
        kind=kind, seen="the instance metadata names {provider}: {sign}", facts={"provider": name, "sign": sign},
        names=name, region=region or None, country=_country(name, region),
    )  # fmt: skip


def _names_in_metadata(bodies: Mapping[str, bytes]) -> Iterator[tuple[str, str, str]]:
    """(provider, region or "", what shows it) of every answer that names somebody: providers.yaml, imds."""
    scaleway = _document(bodies.get(_SCALEWAY, b""))
    if isinstance(zone := scaleway.get("zone"), str) and "organization" in scaleway:
        yield "scaleway", zone.rpartition("-")[0], f"zone {zone}, at Scaleway's own address"
    links = _document(bodies.get(_OPENSTACK_LINKS, b"")).get("links")
    if isinstance(links, list) and any(isinstance(one, dict) and one.get("type") == "bgpovs" for one in links):
        yield "ovhcloud", "", "OpenStack's form, with a link of type bgpovs"
    if _AWS in bodies and isinstance(region := _document(bodies[_AWS]).get("region"), str):
        yield "aws", region, f"an instance identity document, region {region}"
    if b"instance-id:" in bodies.get(_HETZNER, b""):
        yield "hetzner", "", "an answer at /hetzner/v1/metadata"
    if _document(bodies.get(_UPCLOUD, b"")).get("cloud_name") == "upcloud":
        yield "upcloud", "", "cloud_name upcloud"


def _ask_host(line: Line, notes: _Notes) -> None:
    about = line.ask("about", files=[*_DMI_FILES, _BOOT_ID])
    files = {name: base64.b64decode(content) for name, content in about["files"].items()}
    notes.raw["identity-host.json"] = json_bytes(about)
    strings = {_DMI_FILES[name]: content.decode("utf-8", "replace").strip() for name, content in files.items()
               if name in _DMI_FILES}  # fmt: skip
    notes.signals.append(read_firmware(strings))
    address = str(about["line"]).split()[2:3] or ["-"]
    seen = "the line ends at {address}; no table of networks is at hand to say whose that is"
    notes.signals.append(Signal(kind="public_ip_asn", seen=seen, facts={"address": address[0]}))
    own = Path(_BOOT_ID).read_bytes() if Path(_BOOT_ID).exists() else b""
    notes.simulated = files.get(_BOOT_ID, own) == own


def read_firmware(strings: Mapping[str, str]) -> Signal:
    """Whom the SMBIOS strings name; a string that belongs to the software below, as OpenStack's, names nobody."""
    shown = ", ".join(f"{name} {value!r}" for name, value in sorted(strings.items()) if value)
    named = set()
    for provider in providers.load().providers:
        dmi = provider.identity.dmi
        if dmi is None or not dmi.distinctive:
            continue
        products = (dmi.product_name,) if isinstance(dmi.product_name, str) else dmi.product_name or ()
        vendor, product = strings.get("sys_vendor", ""), strings.get("product_name", "")
        if (
            (dmi.sys_vendor and vendor == dmi.sys_vendor)
            or (not dmi.sys_vendor and any(fnmatch(product, pattern) for pattern in products if product))
            or (dmi.chassis_asset_tag and strings.get("chassis_asset_tag") == dmi.chassis_asset_tag)
        ):
            named.add(provider.id)
    name = None if not named else named.pop() if len(named) == 1 else "several"
    if not shown:
        return Signal(kind="dmi_strings", seen="the firmware's strings cannot be read")
    return Signal(kind="dmi_strings", seen="the firmware says {strings}", facts={"strings": shown[:400]}, names=name)


def _ask_storage(line: Line, echo: Echo | None, notes: _Notes) -> None:
    kind = "storage_echo"
    if echo is None:
        notes.signals.append(Signal(kind=kind, seen="not tried: the plan gives no storage that we can sign for"))
        return
    nonce = secrets.token_hex(32)
    wrote: dict[str, Any] = {}
    came: bytes | None = None
    why = url = ""
    try:
        url = echo.sign()
        wrote = line.ask("send", url=url, text=nonce)
        came = echo.read_back()
    except LineLostError:
        raise
    except ReversibleError as error:
        why = error.message
    held = came == nonce.encode()
    notes.raw["identity-storage-echo.json"] = json_bytes(
        {"nonce": nonce, "written": wrote, "read_back": None if came is None else came.decode("ascii", "replace"),
         "error": why, "address": url.partition("?")[0], "verified_tls": echo.verified_tls}
    )  # fmt: skip
    if not held:
        notes.signals.append(Signal(kind=kind, seen="the nonce did not come back from the bucket"))
        return
    place = echo.place
    seen = "the host wrote a nonce to the bucket and it was read back from here, over verified TLS: {place}"
    if not echo.verified_tls:
        seen = "the host wrote a nonce to the bucket and it was read back from here, without TLS: {place}"
    notes.signals.append(
        Signal(
            kind=kind, seen=seen, facts={"place": f"{place.provider} {place.region or ''}".strip() if place else "?"},
            names=place.provider if place else None, region=place.region if place else None,
            country=place.country if place else None, authenticated=place is not None and echo.verified_tls,
        )
    )  # fmt: skip


def _measure_distance(line: Line, notes: _Notes) -> None:
    """A round trip bounds how far the far end is: time can be added to it, and never taken away."""
    times = []
    for _ in range(_PINGS):
        nonce = secrets.token_hex(16)
        begin = time.perf_counter()
        if line.ask("ping", nonce=nonce).get("nonce") != nonce:
            return
        times.append(1000 * (time.perf_counter() - begin))
    notes.raw["identity-round-trip.json"] = json_bytes({"milliseconds": [round(one, 3) for one in times]})
    notes.km = round(min(times) * KM_PER_MS, 1)
    seen = "the fastest of {tries} round trips took {ms} ms: at most {km} km from here"
    facts: dict[str, Scalar] = {"tries": _PINGS, "ms": round(min(times), 3), "km": notes.km}
    notes.signals.append(Signal(kind="rtt_bound", seen=seen, facts=facts))


# --- what they say together -------------------------------------------------------------------------------------


def judge(
    signals: list[Signal], raw: Mapping[str, bytes], questions: Questions, *, km: float | None, simulated: bool
) -> Found:  # fmt: skip
    """Count who agrees with the plan.

    Args:
        km: The bound of the distance to this machine.
        simulated: Whether the host is this machine itself, by its kernel.
    """
    wanted = questions.provider
    agree = [one for one in signals if wanted and one.names == wanted]
    conflict = [one for one in signals if wanted and one.names not in (None, wanted)]
    authenticated = [one for one in agree if one.authenticated]
    countries = sorted({one.country for one in (*agree, *conflict) if one.country})
    members = providers.load().eu_member_states
    in_eu = all(one in members for one in countries) if countries else None
    same, why_same = _same_group(wanted, questions.leaving)
    kinds = providers.load().identity_signals
    shown = tuple(
        {
            "signal": one.kind, "says": one.seen, "facts": dict(one.facts),
            "provider": one.names, "region": one.region, "country": one.country,
            "outcome": _outcome(one, wanted), "forgeable_by_root": kinds[one.kind].forgeable_by_root,
            "authenticated": one.authenticated,
        }
        for one in signals
    )  # fmt: skip
    identified = (
        len(agree) >= AGREEING and not conflict and len(authenticated) >= AUTHENTICATED
        and not simulated and same is False and in_eu is True
    )  # fmt: skip
    findings = _findings(questions, signals, agree, conflict, authenticated, countries, in_eu, km)
    findings.append(
        Finding("dest.same_group_as_source", None, same, unit="bool", error=why_same,
                seen="" if why_same else "by the ultimate parents that the provider catalogue names")
    )  # fmt: skip
    findings.append(
        Finding("dest.simulated", None, simulated, unit="bool",
                seen="re-run by this machine's own kernel, which stands in for a provider" if simulated
                else "re-run by another machine's kernel, by the host's own word")
    )  # fmt: skip
    return Found(signals=shown, raw=raw, findings=tuple(findings), simulated=simulated, identified=identified)


def _findings(
    questions: Questions, signals: list[Signal], agree: list[Signal], conflict: list[Signal],
    authenticated: list[Signal], countries: list[str], in_eu: bool | None, km: float | None,
) -> list[Finding]:  # fmt: skip
    nobody = "" if questions.provider else "the plan names no provider: destination.provider"

    def count(metric: str, counted: list[Signal], seen: str) -> Finding:
        places = tuple(one.kind for one in counted)
        facts: dict[str, Scalar] = {"n": len(counted), "of": len(signals)}
        return Finding(metric, None, None if nobody else len(counted), unit="count", error=nobody, facts=facts,
                       seen=seen, places=places)  # fmt: skip

    unknown = "no signal says in which country it is"
    where = tuple(countries)
    return [
        count("dest.identity_signals_agree", agree, "{n} of {of} signals name the plan's provider"),
        count("dest.identity_signals_conflict", conflict, "{n} of {of} signals name another provider"),
        count("dest.authenticated_signals", authenticated, "{n} of {of} signals were given by the provider itself"),
        Finding("dest.country", None, where[0] if len(where) == 1 else None, unit="iso2",
                seen="by the signals that name a region" if len(where) == 1 else "",
                error="" if len(where) == 1 else unknown if not where else f"the signals name {', '.join(where)}"),
        Finding("dest.in_eu", None, in_eu, unit="bool", error="" if where else unknown, places=where,
                seen="by the signals that name a region" if where else ""),
        Finding("dest.rtt_km_upper_bound", None, km if questions.anchor else None, unit="km",
                seen="from {anchor}, where this machine stands by the plan" if questions.anchor else "",
                facts={"anchor": questions.anchor} if questions.anchor else {},
                error="" if questions.anchor else "the plan does not say where this machine is: destination.anchor"),
    ]  # fmt: skip


def _outcome(signal: Signal, wanted: str | None) -> str:
    if signal.names is None or wanted is None:
        return "silent"
    return "agrees" if signal.names == wanted else "conflicts"


def _same_group(wanted: str | None, leaving: str) -> tuple[bool | None, str]:
    """Whether both have one ultimate parent, by the catalogue; None and the reason where it does not know one."""
    known = {one.id: one for one in providers.load().providers}
    left = next((one for one in known.values() if leaving and _is(one.id, one.name, one.legal.entity, leaving)), None)
    if wanted not in known:
        return None, "the plan names no provider: destination.provider"
    if left is None:
        return None, f"the provider catalogue does not know the provider that is left: {leaving[:80]!r}"
    return known[wanted].legal.ultimate_parent == left.legal.ultimate_parent, ""


def _is(identifier: str, name: str, entity: str, said: str) -> bool:
    plain = said.strip().lower()
    return plain in (identifier, name.lower(), entity.lower()) or plain.startswith(f"{name.lower()} ")


def _country(provider: str, region: str) -> str | None:
    for one in providers.load().providers:
        if one.id == provider:
            if one.regions and (found := one.regions.country(region)):
                return found
            return next((e.country for e in (one.s3.endpoints if one.s3 else ()) if e.region == region), None)
    return None


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
