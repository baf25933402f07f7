"""Does an object that the plan calls a table leave as Parquet too, by the exporter's own route, and verify?"""

import json
import os
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from reversible import plan, registry
from reversible.assets import Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import SourceError
from reversible.plan.vocabulary import vocabulary
from reversible_exporters.s3 import S3Exporter
from reversible_samples.s3_servers import MiniStack

AT = datetime(2026, 11, 26, tzinfo=UTC)
GOOD = {"format.open_pct": 100.0, "format.two_readers_ok_pct": 100.0}
ORDERS = {"pattern": "exports/*.csv", "columns": {"id": "int64", "name": "text"}}


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with MiniStack(tmp_path_factory.mktemp("vendor")) as server:
        os.environ |= {"TEST_S3_AK": server.access_key, "TEST_S3_SK": server.secret_key}
        s3 = server.client()
        s3.create_bucket(Bucket="tables", CreateBucketConfiguration={"LocationConstraint": server.region})
        s3.put_bucket_versioning(Bucket="tables", VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket="tables", Key="exports/2024/a.csv", Body=b"id,name\n9,old\n")
        s3.put_object(Bucket="tables", Key="exports/2024/a.csv", Body="id,name\n1,Zoé\n007,x\n".encode())
        s3.put_object(Bucket="tables", Key="exports/gone.csv", Body=b"id,name\n1,a\n")
        s3.delete_object(Bucket="tables", Key="exports/gone.csv")
        s3.put_object(Bucket="tables", Key="exports/broken.csv", Body=b'id,name\n1,"never closed\n')
        s3.put_object(Bucket="tables", Key="logs/x.dat", Body=b"1")
        yield server


def exporter(server: MiniStack, *tabular: dict[str, Any]) -> S3Exporter:
    settings = {
        "bucket": "tables", "region": server.region, "endpoint_url": server.endpoint_url,
        "access_key": "${TEST_S3_AK}", "secret_key": "${TEST_S3_SK}", "tabular": tabular,
    }  # fmt: skip
    return S3Exporter("files", S3Exporter.Settings(**settings))


def test_a_matching_object_leaves_twice_as_it_is_and_as_a_table(vendor: MiniStack, tmp_path: Path) -> None:
    source = exporter(vendor, ORDERS, {"pattern": "*.dat", "columns": {"x": "text"}}, {**ORDERS, "pattern": "none/*"})
    assets = list(source.discover())
    refused: dict[str, str] = {}
    with BundleWriter(tmp_path / "b") as writer:
        for asset in (one for one in assets if one.obstacle is None):
            error = ""
            try:
                source.export(asset, writer)
                writer.put_witness(asset, source.witness(asset))
            except SourceError as refusal:
                error = refused[asset.name] = refusal.message
                writer.discard(asset)
            writer.close_asset(asset, exporter="test", at=AT, error=error)
        bundle = writer.finish(about={}, at=AT)
    source.close()
    bundle.check()

    assert {asset.name: asset.obstacle for asset in assets if asset.obstacle} == {
        "tables/logs/x.dat": 'logs/x.dat: nothing says its format (try: format = "csv" (or .csv, .tsv, .txt, .json,'
        " .ndjson, .jsonl, .parquet, .avro, .orc, .xlsx, .xlsm))",
        "tables/none/*": "no object's key matches this pattern of the plan",
    }
    assert list(refused) == ["tables/exports/broken.csv"]
    assert "quote" in refused["tables/exports/broken.csv"]
    assert [asset.name for asset in bundle.assets if asset.kind is Kind.TABLE] == ["tables/exports/2024/a.csv"]
    (table,) = (asset for asset in bundle.assets if asset.kind is Kind.TABLE)
    rows = pq.read_table(bundle.parts(table, "part-?????.parquet")).to_pylist()
    assert rows == [{"id": 1, "name": "Zoé"}, {"id": None, "name": "x"}]
    document = bundle.document(table, "conversion.json")
    assert document["first_set_aside"] == [{"row": 2, "column": "id", "text": "007", "why": "leading zeros"}]
    assert _complaints(bundle) == []


def _complaints(bundle: Bundle) -> list[str]:
    return [
        f"{asset.name}: {one.metric}: {one.places}"
        for verifier in registry.verifiers().values()
        for asset in bundle.assets
        if asset.kind in verifier.kinds
        for one in verifier.verify(asset, bundle)
        if one.value != GOOD.get(one.metric, 0)
    ]


def test_a_plan_with_an_unknown_type_is_refused(vendor: MiniStack) -> None:
    with pytest.raises(ValidationError, match="one of int16"):
        exporter(vendor, {"pattern": "*", "columns": {"x": "varchar"}})


PLAN = """
version = 1
[contract]
title = "t"
customer = "c"
provider = "p"
[clauses]
profiles = ["{profile}"]
[destination]
kind = "local"
[source.files]
kind = "s3"
bucket = "tables"
region = "eu-west-3"
[[source.files.tabular]]
pattern = "exports/*.csv"
delimiter = ";"
columns = {{ id = "int64", paid_on = {{ type = "date", format = "%d/%m/%Y" }} }}
"""


def test_a_plan_declares_tables_and_the_published_schema_knows_how(tmp_path: Path) -> None:
    text = PLAN.format(profile=vocabulary().profiles[0])
    (tmp_path / "exit-plan.toml").write_text(text, encoding="utf-8")
    built = plan.load(tmp_path / "exit-plan.toml").exporters()["files"]
    schema = json.loads((Path(__file__).parents[2] / "docs/exit-plan.schema.json").read_text(encoding="utf-8"))

    assert isinstance(built, S3Exporter)
    jsonschema.validate(tomllib.loads(text), schema, jsonschema.Draft202012Validator)
    wrong = tomllib.loads(text.replace("delimiter", "separator"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema, jsonschema.Draft202012Validator)
