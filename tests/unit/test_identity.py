"""Whom do the signals of a host name, and when is that enough for LOC-01?"""

import json
from typing import Any

import pytest

from reversible import clauses, providers
from reversible.destinations import identity
from reversible.destinations.identity import Questions, Signal, judge

SCALEWAY = b'{"id": "1", "zone": "fr-par-1", "organization": "2"}'
LINKS = b'{"links": [{"id": "tap", "type": "%s"}]}'
WANTED = Questions(provider="scaleway", leaving="Amazon Web Services", anchor="Paris")

METADATA: list[tuple[dict[str, bytes], str | None, str | None, str | None]] = [
    ({}, None, None, None),
    ({identity._SCALEWAY: SCALEWAY}, "scaleway", "fr-par", "FR"),
    ({identity._SCALEWAY: b'{"zone": "fr-par-1"}'}, None, None, None),
    ({identity._SCALEWAY: b'{"zone": 7, "organization": 1}'}, None, None, None),
    ({identity._SCALEWAY: b"<html>"}, None, None, None),
    ({identity._SCALEWAY: b"[]"}, None, None, None),
    ({identity._OPENSTACK: b"{}"}, None, None, None),  # OpenStack names nobody: Infomaniak, OVHcloud, Open Telekom ...
    ({identity._OPENSTACK: b"{}", identity._OPENSTACK_LINKS: LINKS % b"ovs"}, None, None, None),
    ({identity._OPENSTACK: b"{}", identity._OPENSTACK_LINKS: LINKS % b"bgpovs"}, "ovhcloud", None, None),
    ({identity._OPENSTACK_LINKS: b'{"links": ["bgpovs", {}]}'}, None, None, None),
    # EC2's shape with eu-west-2: Outscale's Paris, or AWS's London; by itself it names neither
    ({identity._EC2: b"ami-id\ninstance-id", identity._EC2_ZONE: b"eu-west-2a"}, None, None, None),
    ({identity._EC2: b"ami-id", identity._AWS: b'{"region": "eu-west-2"}'}, "aws", "eu-west-2", "GB"),
    ({identity._HETZNER: b"instance-id: 1\nregion: eu-central"}, "hetzner", None, None),
    ({identity._UPCLOUD: b'{"cloud_name": "upcloud"}'}, "upcloud", None, None),
    ({identity._SCALEWAY: SCALEWAY, identity._AWS: b'{"region": "eu-west-3"}'}, "several", None, None),
]


@pytest.mark.parametrize(("bodies", "name", "region", "country"), METADATA)
def test_metadata_names_a_provider_only_by_what_it_alone_has(
    bodies: dict[str, bytes], name: str | None, region: str | None, country: str | None
) -> None:
    found = identity.read_metadata(bodies)

    assert (found.names, found.region, found.country) == (name, region, country)
    assert not found.authenticated


FIRMWARE: list[tuple[dict[str, str], str | None]] = [
    ({}, None),
    ({"sys_vendor": "Scaleway"}, "scaleway"),
    ({"sys_vendor": "3DS Outscale", "product_name": "3DS Outscale VM"}, "outscale"),
    ({"sys_vendor": "OpenStack Foundation", "product_name": "OpenStack Nova"}, None),  # OVHcloud's, and many others'
    ({"sys_vendor": "Hetzner"}, "hetzner"),
    ({"product_name": "Exoscale Compute Platform"}, "exoscale"),
    ({"chassis_asset_tag": "OpenTelekomCloud"}, "otc"),
    ({"sys_vendor": "QEMU", "product_name": "Standard PC"}, None),
    ({"sys_vendor": "Scaleway", "chassis_asset_tag": "OpenTelekomCloud"}, "several"),
]


@pytest.mark.parametrize(("strings", "name"), FIRMWARE)
def test_firmware_names_a_provider_only_where_its_strings_are_its_own(
    strings: dict[str, str], name: str | None
) -> None:
    assert identity.read_firmware(strings).names == name


# --- the rule ---------------------------------------------------------------------------------------------------

IMDS = Signal(kind="imds_content", seen="s", names="scaleway", region="fr-par", country="FR")
DMI = Signal(kind="dmi_strings", seen="s", names="scaleway")
ECHO = Signal(kind="storage_echo", seen="s", names="scaleway", region="fr-par", country="FR", authenticated=True)
OTHER = Signal(kind="public_ip_asn", seen="s", names="ovhcloud")
FORGED = Signal(kind="public_ip_asn", seen="s", names="scaleway")
ABROAD = Signal(kind="storage_echo", seen="s", names="scaleway", country="GB", authenticated=True)
QUIET = Signal(kind="rtt_bound", seen="s")
ALL = [IMDS, DMI, ECHO, QUIET]


def found(signals: list[Signal] = ALL, questions: Questions = WANTED, **more: Any) -> identity.Found:
    return judge(signals, {}, questions, **{"km": 12.5, "simulated": False, **more})


def values(of: identity.Found) -> dict[str, Any]:
    return {one.metric: one.value for one in of.findings}


def test_three_signals_that_agree_one_of_them_the_providers_own_identify_it() -> None:
    whole = found()

    assert whole.identified
    assert values(whole) == {
        "dest.identity_signals_agree": 3, "dest.identity_signals_conflict": 0, "dest.authenticated_signals": 1,
        "dest.country": "FR", "dest.in_eu": True, "dest.rtt_km_upper_bound": 12.5, "dest.same_group_as_source": False,
        "dest.simulated": False,
    }  # fmt: skip
    assert set(values(whole)) == {*identity.METRICS, "dest.simulated"}


SHORT: dict[str, identity.Found] = {
    "metadata and firmware alone": found([IMDS, DMI, QUIET]),
    "three that root can forge, none authenticated": found([IMDS, DMI, FORGED]),
    "one that contradicts": found([*ALL, OTHER]),
    "metadata of two providers": found([Signal(kind="imds_content", seen="s", names="several"), DMI, ECHO, ECHO]),
    "this machine's own kernel": found(simulated=True),
    "no provider in the plan": found(questions=Questions(leaving="Amazon Web Services")),
    "the provider that is left": found(questions=Questions(provider="scaleway", leaving="Scaleway")),
    "an unknown provider that is left": found(questions=Questions(provider="scaleway", leaving="Nuage & fils")),
    "a region outside the Union": found([IMDS, DMI, ABROAD]),
    "no region": found([DMI, Signal(kind="imds_content", seen="s", names="scaleway"),
                        Signal(kind="storage_echo", seen="s", names="scaleway", authenticated=True)]),
    "nothing at all": found([]),
}  # fmt: skip


@pytest.mark.parametrize("case", SHORT)
def test_anything_less_identifies_nobody(case: str) -> None:
    assert not SHORT[case].identified


def test_what_is_missing_is_no_answer_and_says_why() -> None:
    short = {one.metric: one for one in found([QUIET], Questions()).findings}

    for metric in ("dest.identity_signals_agree", "dest.identity_signals_conflict", "dest.authenticated_signals"):
        assert short[metric].value is None
        assert short[metric].error == "the plan names no provider: destination.provider"
    assert short["dest.in_eu"].error == "no signal says in which country it is"
    assert short["dest.rtt_km_upper_bound"].error.endswith("destination.anchor")
    assert short["dest.same_group_as_source"].value is None


def test_every_signal_is_a_kind_of_the_catalogue_and_every_metric_is_one_of_it() -> None:
    kinds = providers.load().identity_signals
    known = clauses.load().metrics

    assert {one.kind for one in [*ALL, OTHER]} <= set(kinds)
    assert set(identity.METRICS) <= set(known)
    for one in found().findings:
        assert one.unit == known[one.metric].unit


def test_the_evidence_keeps_what_each_signal_says_and_how_it_can_be_forged() -> None:
    shown = {one["signal"]: one for one in found([*ALL, OTHER]).signals}

    assert shown["imds_content"]["outcome"] == "agrees"
    assert shown["public_ip_asn"]["outcome"] == "conflicts"
    assert shown["rtt_bound"]["outcome"] == "silent"
    assert shown["dmi_strings"]["forgeable_by_root"] is True
    assert shown["storage_echo"]["authenticated"] is True
    assert json.loads(json.dumps(shown)) == shown
