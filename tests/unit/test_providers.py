"""Is what is known of providers whole, and does an address get the place that it names?"""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import json_schemas
from reversible import providers
from reversible.cli.main import cli
from reversible.errors import UsageError
from reversible.plan.model import Storage

CATALOGUE = Path(__file__).parents[2] / "src/reversible/catalogue/providers.yaml"


def place(endpoint_url: str | None, region: str) -> providers.Place | None:
    return providers.place_of(providers.load(), endpoint_url=endpoint_url, region=region)


@pytest.mark.parametrize(
    ("endpoint_url", "region", "provider", "country", "in_union"),
    [
        ("https://oos.eu-west-2.outscale.com", "eu-west-2", "outscale", "FR", True),  # the same name:
        (None, "eu-west-2", "aws", "GB", False),  # Paris at one, London at the other
        ("https://s3.eu-west-2.amazonaws.com", "eu-west-2", "aws", "GB", False),
        (None, "eu-central-2", "aws", "CH", False),  # eu- is Europe, not the Union
        (None, "eu-west-3", "aws", "FR", True),
        (None, "eusc-de-east-1", "aws", "DE", True),
        ("https://s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "aws", "DE", True),
        ("https://bucket.s3.dualstack.eu-west-3.amazonaws.com", "eu-west-3", "aws", "FR", True),
        ("https://s3.amazonaws.com", "us-east-1", "aws", None, False),
        ("https://s3.uk.io.cloud.ovh.net", "uk", "ovhcloud", "GB", False),
        ("https://s3.gra.io.cloud.ovh.net:443/", "gra", "ovhcloud", "FR", True),
        ("https://sortie.s3.gra.io.cloud.ovh.net", "gra", "ovhcloud", "FR", True),
        ("https://s3.us-east-va.io.cloud.ovh.us", "us-east-va", "ovhcloud", "US", False),
        ("https://s3.nl-ams.scw.cloud", "nl-ams", "scaleway", "NL", True),
        ("https://sos-ch-gva-2.exo.io", "ch-gva-2", "exoscale", "CH", False),
        ("https://client7.upcloudobjects.com", "europe-1", "upcloud", None, None),
        (None, "eu-nowhere-9", "aws", None, None),  # a region that is not in the list: nothing is said of it
    ],
)
def test_an_address_lies_where_its_provider_says(
    endpoint_url: str | None, region: str, provider: str, country: str | None, in_union: bool | None
) -> None:
    found = place(endpoint_url, region)

    assert found is not None
    assert (found.provider, found.country, found.in_union) == (provider, country, in_union)


@pytest.mark.parametrize(
    "endpoint_url",
    [
        "http://127.0.0.1:9000",
        "https://example.org/s3.gra.io.cloud.ovh.net",
        "https://xs3.gra.io.cloud.ovh.net",
        "https://s3.gra.io.cloud.ovh.net.example.org",
        "https://s3.eu-west-3.amazonaws.com.example.org",
        "https://s3.eu-west-3xamazonaws.com",
    ],
)
def test_an_address_that_only_looks_like_one_has_no_place(endpoint_url: str) -> None:
    assert place(endpoint_url, "gra") is None


def test_the_sovereign_partition_of_aws_is_said_to_be_one_of_its_own() -> None:
    found, common = place(None, "eusc-de-east-1"), place(None, "eu-central-1")

    assert found is not None
    assert common is not None
    assert "aws-eusc" in found.note
    assert common.note == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("host: s3.uk.io.cloud.ovh.net, country: GB, eu: false", "host: s3.uk.io.cloud.ovh.net, country: GB, eu: true",
         "ovhcloud uk"),
        ("eu-west-3: FR", "eu-west-2: GB", "no Member State"),
        ("{eu-central-2: CH, eu-west-2: GB}", "{eu-central-2: DE, eu-west-2: GB}", "is a Member State"),
        ('"NO"]', "NO]", "eea_extra.2"),  # YAML's no: the country becomes false
        ("- id: scaleway", "- id: ovhcloud", "stands twice"),
        ("addressing: path", "adressing: path", "adressing"),
        ("{up_to_tb: 1, price: 0.12}", "{price: 0.12}", "one of them"),
    ],
)  # fmt: skip
def test_a_catalogue_that_does_not_agree_with_itself_is_refused(old: str, new: str, said: str) -> None:
    content = CATALOGUE.read_text(encoding="utf-8")
    assert old in content

    with pytest.raises(UsageError, match=r"providers\.yaml") as refused:
        providers.load(content.replace(old, new, 1).encode())

    assert said in refused.value.message


def test_every_source_that_is_no_sentence_is_in_the_list() -> None:
    catalogue = providers.load()
    named: set[str] = set()

    def collect(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(source := node.get("source"), str):
                named.update([] if " for " in source else [one.strip() for one in source.split(",")])
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(yaml.safe_load(CATALOGUE.read_bytes())["providers"])

    assert named <= set(catalogue.sources)


def test_a_published_retention_below_the_floor_is_shown() -> None:
    ovh = next(one for one in providers.load().providers if one.id == "ovhcloud")
    assert ovh.reversibility_policy is not None

    low = {one.service: one.below_floor for one in ovh.reversibility_policy.values}

    assert low["Public Cloud compute, object and block storage"]
    assert not low["VMware SecNumCloud (older page)"]  # 30 days are the floor itself
    assert not low["AI Notebooks"]  # it does not say
    page = CliRunner().invoke(cli, ["providers", "ovhcloud", "--lang", "fr"]).output
    assert "7 jours  MOINS DE 30 JOURS" in page


def test_the_list_and_a_page_say_where_facts_are_from() -> None:
    run = CliRunner()

    assert run.invoke(cli, ["providers"]).output.count("\n") == len(providers.load().providers)
    page = run.invoke(cli, ["providers", "outscale"]).output
    assert "it is Paris" in page
    assert "[rclone, 2026-08-21, high]" in page
    assert "not read: look again" in page


def test_the_documents_are_of_their_schema() -> None:
    run = CliRunner()
    every = json_schemas.parsed("providers", run.invoke(cli, ["providers", "--json"]).output)

    assert [one["id"] for one in every] == [one.id for one in providers.load().providers]
    assert json_schemas.parsed("providers", run.invoke(cli, ["providers", "aws", "--json"]).output) in every


def test_the_schema_is_made_from_the_model() -> None:
    written = json.loads((json_schemas.FOLDER / "providers.schema.json").read_bytes())
    made = providers.Provider.model_json_schema(mode="validation", by_alias=True)

    assert written["$defs"]["Provider"] == {key: value for key, value in made.items() if key != "$defs"}
    assert {name: one for name, one in written["$defs"].items() if name != "Provider"} == made["$defs"]


def test_an_unknown_provider_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="no provider is called outscal") as refused:
        CliRunner().invoke(cli, ["providers", "outscal"], catch_exceptions=False, standalone_mode=False)

    assert refused.value.hint == "reversible providers outscale"


@pytest.mark.parametrize(
    ("endpoint_url", "region", "country", "ok", "said"),
    [
        ("https://s3.gra.io.cloud.ovh.net", "gra", "FR", True, "ovhcloud, region gra: FR, in the Union"),
        ("https://s3.gra.io.cloud.ovh.net", "gra", None, True, "in the Union"),
        ("https://s3.uk.io.cloud.ovh.net", "uk", "FR", False, "GB, outside the Union (rclone); the plan says FR"),
        (None, "eu-west-2", "FR", False, "aws, region eu-west-2: GB, outside the Union"),
        (None, "us-east-1", "FR", False, "outside Europe"),
        ("https://s3.gra.io.cloud.ovh.net", "sbg", "FR", False, "the plan signs for the region sbg"),
        ("http://127.0.0.1:9000", "eu-local", "FR", True, "no provider that is known"),
        ("https://client7.upcloudobjects.com", "europe-1", "FI", True, "a country that its name does not say"),
    ],
)
def test_check_holds_the_address_against_the_plan(
    endpoint_url: str | None, region: str, country: str | None, ok: bool, said: str
) -> None:
    from reversible.cli.check import _place

    storage = Storage(url="s3://sortie/essai", region=region, endpoint_url=endpoint_url)
    answer = _place(storage, country)

    assert answer.ok is ok
    assert said in answer.seen
