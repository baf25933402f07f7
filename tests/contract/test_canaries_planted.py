"""Is a planted row or object seen when it arrives, and missed when it does not arrive exactly as it was planted?"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reversible.assets import Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import UsageError
from reversible.interfaces import Exporter
from reversible.planted import Canary, survived
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_exporters.s3 import S3Exporter
from reversible_samples.postgres_server import PostgresServer
from reversible_samples.s3_servers import MiniStack

AT = datetime(2026, 11, 24, tzinfo=UTC)
TABLE = "public.client"
ROW: Mapping[str, Any] = {
    "id": 999001, "nom": "Zoë 🐤 \n'; DROP", "solde": "99999999999999999999.01", "ratio": "-0.0", "petit": "0.1",
    "vu": "infinity", "le": "2026-07-01 10:00:00.000001+02", "actif": True, "octets": "\\x00ff",
    "fiche": '{"a": 1.10}',
    "libre": "NaN", "mots": '{NULL,"a,b"}', "rien": None, "vide": "",
}  # fmt: skip
PLANTED = Canary(source="shop", asset=TABLE, row=ROW)


@pytest.fixture(scope="module")
def faithful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute(
                "CREATE TABLE client (id int PRIMARY KEY, nom text, solde numeric(22,2), ratio double precision,"
                " petit real, vu timestamp, le timestamptz, actif bool, octets bytea, fiche jsonb, libre numeric,"
                " mots text[], rien text, vide text, hors_plan int DEFAULT 7)"
            )
            connection.execute("INSERT INTO client (id, nom) SELECT g, 'n' || g FROM generate_series(1, 5000) g")
            marks = ", ".join(["%s"] * len(ROW))
            connection.execute(f"INSERT INTO client ({', '.join(ROW)}) VALUES ({marks})", list(ROW.values()))  # noqa: S608
            connection.execute("CREATE TABLE vide ()")
        os.environ["TEST_ADMIN"] = server.password
        settings = {"url": server.url_of("postgres"), "password": "${TEST_ADMIN}", "pg_dump": server.pg_dump}
        source = PostgresExporter("shop", PostgresSettings.model_validate({**settings, "part_mib": 0.05}))
        yield export(source, tmp_path_factory.mktemp("bundle") / "b")


def export(source: Exporter, root: Path) -> Path:
    with BundleWriter(root) as writer:
        for asset in source.discover():
            source.export(asset, writer)
            writer.put_witness(asset, source.witness(asset))
            writer.close_asset(asset, exporter="test", at=AT)
        source.close()
        return writer.finish(about={}, at=AT).root


def test_without_anything_planted_nothing_is_answered(faithful: Path) -> None:
    found = survived(Bundle.open(faithful), [])

    assert found.value is None
    assert "names nothing" in found.error


def test_what_arrived_as_it_was_planted_survived(faithful: Path) -> None:
    found = survived(
        Bundle.open(faithful), [PLANTED, Canary(source="shop", asset=TABLE, row={"id": "17", "nom": "n17"})]
    )

    assert (found.value, found.places, found.coverage) == (100.0, (), 1.0)
    assert found.facts == {"there": 2, "n": 2}


OTHERWISE: Mapping[str, Any] = {
    "id": 999002, "nom": "Zoe 🐤 \n'; DROP", "solde": "99999999999999999999.02", "ratio": "0.0", "petit": "0.10000001",
    "vu": "-infinity", "le": "2026-07-01 10:00:00+02", "actif": False, "octets": "\\x00fe", "fiche": '{"a": 1}',
    "libre": "0", "mots": '{"NULL","a,b"}', "rien": "", "vide": None,
}  # fmt: skip


@pytest.mark.parametrize("column", ROW)
def test_any_value_that_is_another_one_is_told_by_its_column(faithful: Path, column: str) -> None:
    planted = Canary(source="shop", asset=TABLE, row={**ROW, column: OTHERWISE[column]})
    found = survived(Bundle.open(faithful), [planted, PLANTED])

    assert found.value == 50.0
    assert found.places == (f"shop:table:{TABLE}: 1. planted row: no row is it; the nearest differs in {column}",)
    assert "Zo" not in found.places[0]  # the value may be a secret


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (Canary(source="shop", asset=TABLE, row={**ROW, "colonne": "1"}), "the nearest differs in colonne"),
        (Canary(source="shop", asset=TABLE, row={"colonne": "1"}), "no row is it"),
        (Canary(source="shop", asset=TABLE, row={"hors_plan": 7}), "5001 rows are it"),
        (Canary(source="shop", asset="public.vide", row={"id": 1}), "no row is it"),
        (Canary(source="shop", asset="public.clients", row={"id": 1}), "not in the bundle"),
        (Canary(source="autre", asset=TABLE, row={"id": 1}), "not in the bundle"),
        (Canary(source="shop", asset=TABLE, key="a", sha256="0" * 64), "not in the bundle"),
    ],
)
def test_what_is_not_there_once_did_not_survive(faithful: Path, planted: Canary, said: str) -> None:
    found = survived(Bundle.open(faithful), [planted])

    assert found.value == 0.0
    assert found.places[0].endswith(said)


def drop(table: pa.Table) -> pa.Table:
    return table.slice(0, table.num_rows - 1)


def double(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(table.num_rows - 1)])


def trim(table: pa.Table) -> pa.Table:
    names = [None if one is None else one.strip()[:8] for one in table["nom"].to_pylist()]
    return table.set_column(table.schema.get_field_index("nom"), table.schema.field("nom"), [names])


@pytest.mark.parametrize("damage", [drop, double, trim])
def test_a_fault_that_export_and_witness_share_is_seen(
    faithful: Path, tmp_path: Path, damage: Callable[[pa.Table], pa.Table]
) -> None:
    """The files and whatever the source said of them agree: only who planted the row knows better."""
    root = Path(shutil.copytree(faithful, tmp_path / "b"))
    asset = next(one for one in Bundle.open(root).assets if one.name == TABLE)
    part = Bundle.open(root).parts(asset, "part-?????.parquet")[-1]
    pq.write_table(damage(pq.read_table(part)), part)
    if damage is drop:
        part.with_name(part.name.replace(".parquet", ".exceptions.parquet")).unlink()

    typed = {name: value for name, value in ROW.items() if name != "vu"}  # infinity lies in the sidecar, once
    assert survived(Bundle.open(root), [Canary(source="shop", asset=TABLE, row=typed)]).value == 0.0


def test_a_file_that_cannot_be_read_is_no_answer(faithful: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(faithful, tmp_path / "b"))
    asset = next(one for one in Bundle.open(root).assets if one.name == TABLE)
    part = Bundle.open(root).parts(asset)[0]
    part.write_bytes(part.read_bytes()[:-9])
    found = survived(Bundle.open(root), [PLANTED])

    assert found.value is None
    assert part.name in found.error


def test_a_planted_object_arrives_byte_for_byte(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"second").hexdigest()
    with MiniStack(tmp_path / "vendor") as server:
        os.environ |= {"TEST_S3_AK": server.access_key, "TEST_S3_SK": server.secret_key}
        s3 = server.client()
        s3.create_bucket(Bucket="piece", CreateBucketConfiguration={"LocationConstraint": server.region})
        s3.put_bucket_versioning(Bucket="piece", VersioningConfiguration={"Status": "Enabled"})
        for key, body in (("canari/é", b"first"), ("canari/é", b"second"), ("gone", b"second")):
            s3.put_object(Bucket="piece", Key=key, Body=body)
        s3.delete_object(Bucket="piece", Key="gone")
        settings = S3Exporter.Settings.model_validate({
            "bucket": "piece", "endpoint_url": server.endpoint_url, "region": server.region,
            "access_key": "${TEST_S3_AK}", "secret_key": "${TEST_S3_SK}",
        })  # fmt: skip
        root = export(S3Exporter("depot", settings), tmp_path / "b")  # type: ignore[arg-type]
    bundle = Bundle.open(root)
    asset = next(one for one in bundle.assets if one.kind is Kind.OBJECTS)

    def share(key: str, sha256: str) -> Any:
        return survived(bundle, [Canary(source="depot", asset=asset.name, key=key, sha256=sha256)]).value

    assert share("canari/é", digest) == 100.0
    assert share("canari/é", hashlib.sha256(b"first").hexdigest()) == 0.0  # an old version is not what is there
    assert share("gone", digest) == 0.0
    assert share("canari/e", digest) == 0.0
    bundle.object_path(asset, digest).write_bytes(b"secood")
    assert share("canari/é", digest) == 0.0


def test_a_variable_that_hides_a_value_must_be_set_before_anything_leaves(tmp_path: Path) -> None:
    from reversible import plan
    from reversible.run import DryRun

    path = tmp_path / "exit-plan.toml"
    path.write_text(
        'version = 1\n[contract]\ntitle = "a"\ncustomer = "b"\nprovider = "c"\n[clauses]\nprofiles = ["baseline"]\n'
        '[source.shop]\nkind = "sqlite"\npath = "shop.sqlite"\n[[source.shop.canary]]\nasset = "client"\n'
        'row = {id = 1, nom = "${CANARI}"}\nnull = ["mail"]\n[destination]\nkind = "local"\n',
        encoding="utf-8",
    )
    found = plan.load(path)

    assert found.canaries(environ={"CANARI": "moi"}) == [
        Canary(source="shop", asset="client", row={"id": 1, "nom": "moi", "mail": None})
    ]
    assert "moi" not in str(found.sealed())
    with pytest.raises(UsageError, match=r"source\.shop\.canary\[0\]\.row\.nom: the environment variable CANARI"):
        DryRun(found, tmp_path / "run")
