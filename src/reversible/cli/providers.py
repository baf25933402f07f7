"""What is known of a provider, from where, and how surely?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.providers.model import Catalogue, Provider

_WORDS = {
    "en": {
        "eu": "in the Union", "none": "none known", "owner": "Owner", "inside": "in the Union",
        "outside": "outside the Union", "signals": "A host shows where it is by",
        "metadata": "instance metadata", "firmware": "firmware", "networks": "network (AS)", "api": "its API",
        "signed": "a signed identity", "unsigned": "no signed identity", "generic": "does not name the provider",
        "retention": "Kept after the end, as published (the Data Act's floor is 30 days; a contract may grant more)",
        "below": "BELOW 30 DAYS", "days": "days", "unsaid": "not said", "egress": "Taking data out",
        "price": "list price", "up_to": "up to", "above": "above", "month": "a month", "free": "free",
        "quirks": "A client must know", "memory": "not read: look again before you rely on it",
        "qualified": "qualified", "qualified_for_some": "qualified for some services", "in_progress": "in progress",
        "none_": "none", "not_seen": "not seen", "technology": "runs on technology of", "regions": "Regions",
    },
    "fr": {
        "eu": "dans l'Union", "none": "aucun connu", "owner": "Propriétaire", "inside": "dans l'Union",
        "outside": "hors de l'Union", "signals": "Un hôte montre où il est par",
        "metadata": "métadonnées d'instance", "firmware": "micrologiciel", "networks": "réseau (AS)", "api": "son API",
        "signed": "une identité signée", "unsigned": "pas d'identité signée", "generic": "ne nomme pas le fournisseur",
        "retention": "Conservé après la fin, d'après ses pages (plancher du Data Act : 30 jours ; un contrat peut"
        " accorder davantage)",
        "below": "MOINS DE 30 JOURS", "days": "jours", "unsaid": "non dit", "egress": "Sortir ses données",
        "price": "prix public", "up_to": "jusqu'à", "above": "au-delà de", "month": "par mois", "free": "gratuits",
        "quirks": "Un client doit savoir", "memory": "non lu : à vérifier avant de s'y fier",
        "qualified": "qualifié", "qualified_for_some": "qualifié pour certains services", "in_progress": "en cours",
        "none_": "aucun", "not_seen": "non trouvé", "technology": "repose sur la technologie de", "regions": "Régions",
    },
}  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  reversible providers
  reversible providers outscale --lang fr
  reversible providers --json | jq -r '.[] | .id as $id | .s3.endpoints[]? | select(.eu) | "\\($id) \\(.host)"'""",
)
@click.argument("provider_id", metavar="[ID]", required=False)
@json_option
@lang_option
def providers(provider_id: str | None, as_json: bool, lang: str) -> int:
    """List the cloud providers; with ID, show one: S3 addresses, identity, retention, egress, each with its source."""
    import difflib

    from reversible import providers as known
    from reversible.errors import UsageError

    catalogue = known.load()
    rows = {one.id: one for one in catalogue.providers}
    if provider_id is None:
        if as_json:
            print_json([_document(one) for one in rows.values()])
            return 0
        for one in rows.values():
            click.echo(_line(one, lang))
        return 0
    if provider_id not in rows:
        near = difflib.get_close_matches(provider_id.lower(), rows, n=1)
        raise UsageError(
            f"no provider is called {provider_id}", hint=f"reversible providers {near[0] if near else ''}".strip()
        )
    if as_json:
        print_json(_document(rows[provider_id]))
        return 0
    for line in _page(rows[provider_id], catalogue, lang):
        click.echo(line)
    return 0


def _document(one: "Provider") -> dict[str, object]:
    return one.model_dump(mode="json", by_alias=True, exclude_none=True)


def _line(one: "Provider", lang: str) -> str:
    words = _WORDS[lang]
    inside = sorted({end.country for end in one.s3.endpoints if end.eu}) if one.s3 else []
    if one.regions is not None:
        inside = sorted({*one.regions.eu.values(), *one.regions.eu_sovereign_partition.values()})
    qualified = f"SecNumCloud: {_status(one, lang)}" if one.secnumcloud else ""
    where = f"{words['eu']}: {', '.join(inside) or words['none']}"
    return f"{one.id:<12} {one.name:<44} {one.legal.parent_country}  {where:<46} {qualified}".rstrip()


def _status(one: "Provider", lang: str) -> str:
    assert one.secnumcloud is not None  # noqa: S101 - its callers look
    status = one.secnumcloud.status
    return _WORDS[lang]["none_" if status == "none" else status]


def _page(one: "Provider", catalogue: "Catalogue", lang: str) -> Iterator[str]:
    words = _WORDS[lang]

    def known(*parts: object) -> str:
        """Where the first part that says so is from: [source, date, confidence]."""
        source = next((got for part in parts if (got := getattr(part, "source", None))), "")
        date = next((got for part in parts if (got := getattr(part, "as_of", None))), "")
        sure = next((got for part in parts if (got := getattr(part, "confidence", None))), "")
        row = catalogue.sources.get(source)
        if row is not None and not date:
            date = row.date
        unread = words["memory"] if "memory" in source else ""
        return f"  [{', '.join(filter(None, (source, date, sure, unread)))}]"

    legal = one.legal
    yield f"{one.id}  {one.name}"
    yield (
        f"\n{words['owner']}: {legal.entity} ({legal.hq_country}); {legal.ultimate_parent} ({legal.parent_country})"
        + (known(legal))
    )
    for note in filter(None, (legal.note, one.legal_note and one.legal_note.text, one.note)):
        yield f"  {note}"
    if one.technology is not None:
        yield f"  {words['technology']} {one.technology.vendor} ({one.technology.vendor_country})" + known(
            one.technology, legal
        )
    if one.secnumcloud is not None:
        services = "; ".join(one.secnumcloud.services)
        yield f"SecNumCloud: {_status(one, lang)}{f' ({services})' if services else ''}" + known(one.secnumcloud)
        if one.secnumcloud.not_covered:
            yield f"  - {one.secnumcloud.not_covered}"
    yield from _storage(one, words, known)
    yield from _signals(one, words, known)
    if policy := one.reversibility_policy:
        yield f"\n{words['retention']}{known(policy)}"
        yield f"  {policy.url}"
        for value in policy.values:
            days = words["unsaid"] if value.retention_days is None else f"{value.retention_days} {words['days']}"
            days = days.removesuffix("s") if value.retention_days == 1 else days
            low = f"  {words['below']}" if value.below_floor else ""
            yield f"  {value.service}: {days}{low}"
    if egress := one.egress:
        yield f"\n{words['egress']}{known(egress)}"
        if egress.text:
            yield f"  {egress.text}"
        for step in egress.list_price_usd_per_gb:
            bound = (
                f"{words['up_to']} {step.up_to_tb:g} TB" if step.up_to_tb else f"{words['above']} {step.above_tb:g} TB"
            )
            yield f"  {words['price']}, {bound}: {step.price:g} USD/GB"
        if egress.free_gb_per_month:
            yield f"  {egress.free_gb_per_month:g} GB {words['month']}: {words['free']}"
        for offer in filter(None, (egress.exit_programme, egress.data_act_parallel)):
            yield f"  {offer.text}{known(offer, egress)}"


def _storage(one: "Provider", words: dict[str, str], known: "Known") -> Iterator[str]:
    if one.s3 is not None:
        yield f"\nS3{known(one.s3)}"
        if one.s3.pattern:
            yield f"  {one.s3.pattern}"
        for end in one.s3.endpoints:
            inside = words["inside" if end.eu else "outside"]
            own = known(end, one.s3) if end.source or end.confidence else ""
            note = f"  {end.note}" if end.note else ""
            yield f"  {end.region:<22} {end.host:<44} {end.country}  {inside}{note}{own}"
        if one.s3.quirks:
            yield f"  {words['quirks']}: " + ", ".join(f"{name}={value}" for name, value in one.s3.quirks.items())
        if one.s3.note:
            yield f"  {one.s3.note}"
    if one.regions is not None:
        yield f"\n{words['regions']}{known(one.regions)}"
        for inside, regions in (
            ("inside", {**one.regions.eu, **one.regions.eu_sovereign_partition}),
            ("outside", one.regions.europe_not_eu),
        ):
            for region, country in regions.items():
                yield f"  {region:<22} {country}  {words[inside]}"
        if one.regions.trap:
            yield f"  {one.regions.trap}"


def _signals(one: "Provider", words: dict[str, str], known: "Known") -> Iterator[str]:
    identity = one.identity
    yield f"\n{words['signals']}"
    if identity.imds is not None and identity.imds.url:
        yield f"  {words['metadata']}: {identity.imds.url}{known(identity.imds)}"
    if identity.dmi is not None:
        names = identity.dmi.sys_vendor or identity.dmi.product_name or identity.dmi.chassis_asset_tag
        shown = ", ".join(names) if isinstance(names, tuple) else names or identity.dmi.uuid_prefix
        generic = "" if identity.dmi.distinctive else f" ({words['generic']})"
        yield f"  {words['firmware']}: {shown}{generic}{known(identity.dmi)}"
    if identity.asn is not None:
        yield f"  {words['networks']}: {', '.join(map(str, identity.asn.values))}{known(identity.asn)}"
    if identity.api is not None:
        yield f"  {words['api']}: {identity.api.host}{identity.api.path or ''}{known(identity.api)}"
    if identity.signed_identity is not None:
        signed = words["signed" if identity.signed_identity.available else "unsigned"]
        yield f"  {signed}{known(identity.signed_identity)}"


if TYPE_CHECKING:
    from collections.abc import Callable

    Known = Callable[..., str]
