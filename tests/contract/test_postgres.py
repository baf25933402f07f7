"""Does a database leave whole, and does a verifier notice each way in which it did not?"""

import json
import math
import os
import shutil
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from reversible import fingerprint
from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.comparison.tables import open_table
from reversible.errors import BundleError, ReversibleError, SourceError, SourceLostError
from reversible.findings import Finding
from reversible_exporters import postgres_table
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_exporters.postgres_table import PLACEHOLDER
from reversible_samples.postgres_server import PostgresServer
from reversible_verifiers import table_files
from reversible_verifiers.metadata import Metadata
from reversible_verifiers.openness import Openness
from reversible_verifiers.rows import Rows
from reversible_verifiers.schema import Schema
from reversible_verifiers.values import Values

AT = datetime(2026, 11, 24, tzinfo=UTC)
TORTURE = Path(__file__).with_name("postgres_torture.sql")
READER_PASSWORD = "lire-seulement"
VERIFIERS = (Rows(), Values(), Schema(), Metadata(), Openness())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as running:
        with psycopg.connect(running.url) as connection:
            connection.execute(TORTURE.read_text(encoding="utf-8"))  # type: ignore[arg-type]
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE exit_reader LOGIN PASSWORD '{READER_PASSWORD}'")  # type: ignore[arg-type]
            connection.execute("GRANT USAGE ON SCHEMA torture TO exit_reader")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA torture TO exit_reader")
            connection.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA torture TO exit_reader")
            connection.execute("ANALYZE")
        yield running


def exporter(server: PostgresServer, *, user: str = "postgres", **settings: Any) -> PostgresExporter:
    os.environ |= {"TEST_ADMIN": server.password, "TEST_READER": READER_PASSWORD}
    password = "${TEST_ADMIN}" if user == "postgres" else "${TEST_READER}"
    given = {"url": server.url_of(user), "password": password, "pg_dump": server.pg_dump, **settings}
    return PostgresExporter("shop", PostgresSettings.model_validate(given))


def export(source: PostgresExporter, root: Path) -> tuple[Bundle, dict[str, SourceError]]:
    """What run.py does, asset by asset."""
    refused: dict[str, SourceError] = {}
    with BundleWriter(root) as writer:
        for asset in source.discover():
            error = ""
            try:
                source.export(asset, writer)
                writer.put_witness(asset, source.witness(asset))
            except SourceError as refusal:
                refused[asset.name] = refusal
                error = refusal.message
            writer.close_asset(asset, exporter="test", at=AT, error=error)
        source.close()
        return writer.finish(about={"tool": "test"}, at=AT), refused


@pytest.fixture(scope="module")
def faithful(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle, refused = export(exporter(server, part_mib=0.03), tmp_path_factory.mktemp("bundle") / "b")

    assert not refused
    return bundle.root


@pytest.fixture
def copy(faithful: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faithful, tmp_path / "b"))


def findings(root: Path, name: str) -> dict[str, Finding]:
    bundle = Bundle.open(root)
    asset = asset_of(root, name)
    return {
        one.metric: one
        for verifier in VERIFIERS
        if asset.kind in verifier.kinds
        for one in verifier.verify(asset, bundle)
    }


def asset_of(root: Path, name: str) -> Asset:
    return next(asset for asset in Bundle.open(root).assets if asset.name == name)


def wrong(found: dict[str, Finding]) -> dict[str, Finding]:
    """The findings that no criterion of the catalogue would let pass."""
    best = {"format.open_pct": 100.0, "format.two_readers_ok_pct": 100.0}
    return {metric: one for metric, one in found.items() if one.value != best.get(metric, 0)}


# --- everything leaves, exactly ----------------------------------------------------------------------------------


def test_every_asset_is_named_once_in_a_stable_order(server: PostgresServer) -> None:
    source = exporter(server)
    names = [asset.id for asset in source.discover()]
    again = [asset.id for asset in source.discover()]
    source.close()

    assert names == again
    assert len(names) == len(set(names))
    assert {name for name in names if "mesures" in name} == {"shop:table:torture.mesures"}
    assert 'shop:table:torture."Or der""s\'é.x"' in names
    assert "shop:database:comptoir" in names


TABLES = (
    "nombres", "temps", "textes", "formes", "sans_ligne", "une_colonne", "doublons", '"Or der""s\'é.x"', "mesures",
    "parent", "enfant", "client", "commande", "secrets",
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_every_value_reads_back_as_the_server_writes_it(server: PostgresServer, faithful: Path, table: str) -> None:
    bundle = Bundle.open(faithful)
    asset = asset_of(faithful, f"torture.{table}")
    document = bundle.document(asset, "table.json")
    with psycopg.connect(server.url) as connection:
        connection.execute(
            "SET TIME ZONE 'UTC'; SET extra_float_digits = 3; SET bytea_output = hex; SET lc_monetary = 'C'"
        )
        columns = [column["name"].replace('"', '""') for column in document["columns"]]
        forms = ", ".join(
            f'CASE WHEN "{name}" IS DISTINCT FROM NULL THEN format(\'%s\', "{name}") END' for name in columns
        )
        only = "" if table == "mesures" else "ONLY"
        expected = connection.execute(f"SELECT {forms} FROM {only} {asset.name}").fetchall()  # type: ignore[arg-type]  # noqa: S608

    assert Counter(restored(bundle, asset, document)) == Counter(map(normal_floats(document), expected))


def restored(bundle: Bundle, asset: Asset, document: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Each row as PostgreSQL's text, from the Parquet files and their sidecars alone."""
    for part in bundle.parts(asset, "part-?????.parquet"):
        table = pq.read_table(part)
        sidecar = part.with_name(part.name.replace(".parquet", ".exceptions.parquet"))
        listed = pq.read_table(sidecar).to_pylist() if sidecar.exists() else []
        odd = {(one["row"], one["column"]): one["text"] for one in listed}
        texts = [
            [odd.get((row, name), as_text(value, column.type)) for row, value in enumerate(raw(column))]
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
        yield from zip(*texts, strict=True)


def raw(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type) or pa.types.is_time(column.type):
        return list(column.cast(pa.int64()).to_pylist())
    return list(column.to_pylist())


def as_text(value: Any, arrow: pa.DataType) -> Any:
    if value is None or pa.types.is_string(arrow):
        return value
    if pa.types.is_boolean(arrow):
        return "t" if value else "f"
    if pa.types.is_floating(arrow):
        return bits(value, arrow)
    if pa.types.is_binary(arrow):
        return "\\x" + value.hex()
    if pa.types.is_timestamp(arrow):
        moment = pc.strftime(pa.scalar(value, pa.timestamp("us")), "%Y-%m-%d %H:%M:%S").as_py()
        return moment.rstrip("0").rstrip(".") + ("+00" if arrow.tz else "")
    if pa.types.is_time(arrow):
        seconds, micros = divmod(value, 10**6)
        text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return f"{text}.{micros:06}".rstrip("0") if micros else text
    if pa.types.is_date(arrow):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def bits(value: float, arrow: pa.DataType) -> bytes:
    return struct.pack(">d", math.nan if math.isnan(value) else value) + str(arrow).encode()


def normal_floats(document: dict[str, Any]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The server's text, floats as bits: 1e-45 and 1.4e-45 are one float4."""
    types = {"float": pa.float32(), "double": pa.float64()}
    wanted = [types.get(column["arrow_type"]) for column in document["columns"]]

    def one(value: Any, arrow: pa.DataType | None) -> Any:
        if value is None or arrow is None:
            return value
        number = float(value)
        return bits(struct.unpack("f", struct.pack("f", number))[0] if arrow == pa.float32() else number, arrow)

    return lambda row: tuple(one(value, arrow) for value, arrow in zip(row, wanted, strict=True))


def test_a_table_without_columns_keeps_its_rows(faithful: Path) -> None:
    asset = asset_of(faithful, "torture.sans_colonne")
    part = Bundle.open(faithful).parts(asset)[0]

    assert pq.read_metadata(part).num_rows == 2
    assert pq.read_schema(part).names == [PLACEHOLDER]
    assert Bundle.open(faithful).document(asset, "table.json")["columns"] == []


def test_a_partitioned_table_leaves_once_and_an_inheritance_parent_without_its_children(faithful: Path) -> None:
    rows = {name: Bundle.open(faithful).document(asset_of(faithful, f"torture.{name}"), "table.json")["rows"]
            for name in ("mesures", "parent", "enfant")}  # fmt: skip

    assert rows == {"mesures": 1000, "parent": 1, "enfant": 1}


def test_table_json_says_what_the_table_means(faithful: Path) -> None:
    document = Bundle.open(faithful).document(asset_of(faithful, "torture.commande"), "table.json")
    columns = {column["name"]: column for column in document["columns"]}

    assert document["primary_key"] == ["id"]
    assert document["unique"] == [{"name": "commande_client_passee_key", "columns": ["client", "passee"]}]
    assert [(key["table"], key["columns"], key["referenced"]) for key in document["foreign_keys"]] == [
        ("torture.client", ["client"], ["id"]),
        ("torture.mesures", ["mesure", "jour"], ["id", "jour"]),
    ]
    assert [check["name"] for check in document["checks"]] == ["cher"]
    assert columns["id"]["identity"] == "by default"
    assert columns["ttc"]["generated"].startswith("stored: ")
    assert columns["passee"]["arrow_type"] == "timestamp[us, tz=UTC]"
    assert columns["locale"]["arrow_type"] == "timestamp[us]"
    assert not columns["ht"]["nullable"]


def test_a_faithful_bundle_passes_every_check(faithful: Path) -> None:
    bundle = Bundle.open(faithful)
    bundle.check()
    faults = {asset.name: wrong(findings(faithful, asset.name)) for asset in bundle.assets}

    assert {name: found for name, found in faults.items() if found} == {}


def test_the_same_database_gives_the_same_bytes_but_for_the_witness(
    server: PostgresServer, faithful: Path, tmp_path: Path
) -> None:
    again, _ = export(exporter(server, part_mib=0.03), tmp_path / "again")

    for path in sorted(path for path in faithful.rglob("data/[td]*/*/*") if path.name != "origins.json"):
        assert path.read_bytes() == (again.root / path.relative_to(faithful)).read_bytes(), path.name


def test_large_tables_are_cut_into_parts(faithful: Path) -> None:
    parts = Bundle.open(faithful).parts(asset_of(faithful, "torture.mesures"), "part-?????.parquet")

    assert [pq.read_metadata(part).num_rows for part in parts] == [213, 365, 422]  # the partitions: 2, 3 and 3 blocks


# --- damage ------------------------------------------------------------------------------------------------------

Change = Callable[[pa.Table], pa.Table]


def column(name: str, change: Callable[[list[Any]], list[Any]]) -> Change:
    def damage(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        values = pa.array(change(table[name].to_pylist()), field.type)
        return table.set_column(table.schema.get_field_index(name), field, values)

    return damage


def at(row: int, value: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [*values[:row], value(values[row]), *values[row + 1 :]]


def shift_zone(table: pa.Table) -> pa.Table:
    moved = pc.add(table["passee"], pa.scalar(3_600_000_000, pa.duration("us")))
    return table.set_column(table.schema.get_field_index("passee"), table.schema.field("passee"), moved)


def forget_zone(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("passee"), "passee", table["passee"].cast(pa.timestamp("us")))


def swap(table: pa.Table) -> pa.Table:
    fields = [table.schema.get_field_index(name) for name in ("etat", "autre")]
    etat, autre = table["etat"], table["autre"]
    return table.set_column(fields[0], table.schema.field("etat"), autre).set_column(
        fields[1], table.schema.field("autre"), etat
    )


def drop_and_double(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(1), table.slice(5, 1)])


CELLS, DRIFT, ORPHANS = "data.cells_different", "data.schema_drift_undeclared", "data.orphan_references"
MISSING, EXTRA = "data.rows_missing", "data.rows_extra"
# (what, table, damage, metric, place below the schema)
DAMAGES: list[tuple[str, str, Change, str, str]] = [
    ("rounded decimal", "commande", column("ttc", at(7, lambda one: round(one, 1))), CELLS, "commande.ttc [id=8"),
    ("one ULP", "commande", column("taux", at(7, lambda one: math.nextafter(one, 9))),
     CELLS, "commande.taux [id=8"),
    ("NULL for empty", "commande", column("etat", at(4, lambda _: None)), CELLS, "commande.etat [id=5"),
    ("empty for NULL", "commande", column("etat", at(6, lambda _: "")), CELLS, "commande.etat [id=7"),
    ("trailing space", "commande", column("autre", at(0, lambda one: one + " ")), CELLS, "commande.autre [id=1"),
    ("all instants +1 h", "commande", shift_zone, CELLS, "commande.passee ["),
    ("zone forgotten", "commande", forget_zone, DRIFT, "commande.passee: declared timestamp[us, tz=UTC]"),
    ("zone forgotten, values", "commande", forget_zone, CELLS, "commande.passee ["),
    ("columns swapped", "commande", swap, CELLS, "commande.etat ["),
    ("dropped row", "commande", lambda table: table.slice(1), MISSING, "commande"),
    ("dropped and doubled, missing", "commande", drop_and_double, MISSING, "commande"),
    ("dropped and doubled, extra", "commande", drop_and_double, EXTRA, "commande [id=6"),
    ("doubled", "doublons", lambda table: pa.concat_tables([table, table.slice(0, 1)]),
     EXTRA, "doublons [part-00000.parquet row="),
    ("keyless change", "doublons", column("valeur", at(3, lambda one: one + 1)),
     CELLS, "doublons.valeur [part-00000.parquet row="),
    ("column gone", "client", lambda table: table.drop_columns(["nom"]),
     DRIFT, "client.nom: not in part-00000.parquet"),
    ("column gone, values", "client", lambda table: table.drop_columns(["nom"]), CELLS, "client.nom ["),
    ("NULL in NOT NULL", "client", column("nom", at(0, lambda _: None)), DRIFT, "client.nom: 1 NULLs"),
    ("orphan", "commande", column("client", at(0, lambda _: 4242)),
     ORPHANS, "commande.client [client=4242] -> torture.client"),
    ("orphans, the other end", "client", lambda table: table.slice(1), MISSING, "client"),
    ("-0.0", "nombres", column("f8", at(4, lambda _: 0.0)), CELLS, "nombres.f8 [id=5"),
    ("NaN", "nombres", column("f8", at(3, lambda _: None)), CELLS, "nombres.f8 [id=4"),
    ("38 digits", "nombres", column("n38", at(6, lambda one: one + Decimal("0.00000001"))),
     CELLS, "nombres.n38 [id=7"),
    ("unbounded numeric", "nombres", column("n", at(8, lambda _: "1.1")), CELLS, "nombres.n [id=9"),
    ("2**53 + 1", "nombres", column("i8", at(3, lambda one: one - 1)), CELLS, "nombres.i8 [id=4"),
    ("array bounds", "formes", column("ai", at(2, lambda _: "{7,8,NULL}")), CELLS, "formes.ai [id=3"),
    ("json number", "formes", column("jb", at(2, lambda _: "1.2345678901234568e+29")), CELLS, "formes.jb [id=3"),
    ("a column too many", "client", lambda table: table.append_column("x", pa.nulls(len(table))),
     DRIFT, "client.x: in part-00000.parquet, and not declared"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "damage", "metric", "place"), [one[1:] for one in DAMAGES], ids=[one[0] for one in DAMAGES]
)
def test_damage_is_named_at_its_place(copy: Path, table: str, damage: Change, metric: str, place: str) -> None:
    part = Bundle.open(copy).parts(asset_of(copy, f"torture.{table}"), "part-?????.parquet")[0]
    pq.write_table(damage(pq.read_table(part)), part, compression="zstd")
    found = findings(copy, f"torture.{table}")[metric]

    assert isinstance(found.value, int)
    assert found.value > 0
    where, bracket, row = f"torture.{place}".partition("[")
    assert any(one.startswith(where + bracket) and row in one for one in found.places), found.places
    assert found.seen.format(**found.facts)


def test_all_shifted_instants_are_counted(copy: Path) -> None:
    for part in Bundle.open(copy).parts(asset_of(copy, "torture.commande"), "part-?????.parquet"):
        pq.write_table(shift_zone(pq.read_table(part)), part)

    assert int(str(findings(copy, "torture.commande")["data.cells_different"].value)) > 400


def test_a_lost_sidecar_is_noticed(copy: Path) -> None:
    Bundle.open(copy).parts(asset_of(copy, "torture.temps"), "*.exceptions.parquet")[0].unlink()
    found = wrong(findings(copy, "torture.temps"))

    assert int(str(found["data.cells_different"].value)) >= 8  # of 32: a lower bound, and eight columns
    assert any(place.startswith("torture.temps.d [") for place in found["data.cells_different"].places)


def test_the_engines_totals_are_compared_too(copy: Path) -> None:
    import json

    path = copy / "data/witness" / asset_of(copy, "torture.commande").slug / "witness.json"
    document = json.loads(path.read_bytes())
    document["facts"]["totals"]["ht"]["sum"] = "1.00"
    path.write_text(json.dumps(document))
    found = findings(copy, "torture.commande")["data.cells_different"]

    assert found.value == 1
    assert found.places[0].startswith("torture.commande.ht (sum of value: 1.00 / ")


def test_a_reference_to_a_table_that_did_not_leave_is_unanswered(copy: Path) -> None:
    bundle = Bundle.open(copy)
    bundle.entries = tuple(entry for entry in bundle.entries if entry.asset.name != "torture.client")
    answers = []
    with pytest.raises(BundleError, match=r"torture\.client .*which is not in the bundle"):
        answers.extend(Schema().verify(asset_of(copy, "torture.commande"), bundle))


LOST = [
    ("constraint torture.client.client_pkey", "ADD CONSTRAINT client_pkey PRIMARY KEY"),
    ('constraint torture.Or der"s\'é.x.vérifié', "CONSTRAINT \"vérifié\" CHECK"),
    ("index torture.Index; bizarre", "INDEX \"Index; bizarre\""),
    ("sequence torture.facture", "CREATE SEQUENCE torture.facture"),
    ("view torture.vue", "CREATE VIEW torture.vue"),
    ("materialized view torture.vue_m", "CREATE MATERIALIZED VIEW torture.vue_m"),
    ("comment torture.client.avant;", "COMMENT ON TRIGGER"),
    ("comment torture.commande.commande_client_fkey", "COMMENT ON CONSTRAINT"),
    ('comment torture.Or der"s\'é.x.a.b', "COMMENT ON COLUMN"),
    ("function torture.f", "CREATE FUNCTION torture.f(a text)"),
    ("trigger torture.client.avant;", "CREATE TRIGGER \"avant;\""),
    ("policy torture.secrets.qui_lit", "CREATE POLICY qui_lit"),
    ("rule torture.vue.pas_touche", "CREATE RULE pas_touche"),
    ("type torture.humeur", "CREATE TYPE torture.humeur"),
    ("domain torture.positif", "CREATE DOMAIN torture.positif"),
    ("partition torture.mesures_x", "ATTACH PARTITION torture.mesures_x DEFAULT"),
    ("grant torture.client", "GRANT SELECT ON TABLE torture.client"),
    ("table torture.sans_ligne", "CREATE TABLE torture.sans_ligne"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "fragment"), LOST, ids=[one[0] for one in LOST])
def test_a_statement_gone_from_the_schema_is_named(copy: Path, place: str, fragment: str) -> None:
    path = copy / asset_of(copy, "comptoir").folder / "schema.sql"
    text = path.read_text(encoding="utf-8")
    assert text.count(fragment) == 1

    # The statement becomes one about something else; pg_dump's comment above it stays.
    path.write_text(text.replace(fragment, _elsewhere(fragment)), encoding="utf-8")
    found = findings(copy, "comptoir")["data.metadata_classes_missing"]

    assert found.value in (1, 2, 3)
    assert place in found.places


def _elsewhere(fragment: str) -> str:
    """The statement about another object, or another statement."""
    renamed = {
        "ADD CONSTRAINT client_pkey PRIMARY KEY": "ADD CONSTRAINT autre PRIMARY KEY",
        'CONSTRAINT "vérifié" CHECK': "CONSTRAINT autre CHECK",
        'INDEX "Index; bizarre"': "INDEX autre",
        "COMMENT ON TRIGGER": "REASSIGN ON TRIGGER",
        "COMMENT ON CONSTRAINT": "REASSIGN ON CONSTRAINT",
        "COMMENT ON COLUMN": "REASSIGN ON COLUMN",
        'CREATE TRIGGER "avant;"': "CREATE TRIGGER autre",
        "CREATE POLICY qui_lit": "CREATE POLICY autre",
        "CREATE RULE pas_touche": "CREATE RULE autre",
    }
    return renamed.get(fragment, fragment.replace("torture.", "torture.autre_"))


def test_a_forgotten_sequence_value_is_named(copy: Path) -> None:
    path = copy / asset_of(copy, "comptoir").folder / "database.json"
    path.write_text(path.read_text().replace('"last_value": 1001', '"last_value": 1'))
    found = findings(copy, "comptoir")["data.metadata_classes_missing"]

    assert (found.value, found.places) == (1, ("sequence value of torture.facture: 2 next, at the source 1002",))


def test_sequences_that_go_on_during_the_export_are_not_called_lost(server: PostgresServer, tmp_path: Path) -> None:
    """No snapshot holds a sequence: an application draws numbers between any two looks at it."""
    sequences = (
        "va INCREMENT 10", "recule INCREMENT -1 MINVALUE -1000 MAXVALUE -1", "tourne START 8 MAXVALUE 9 CYCLE",
        "dort START 7", "saute",
    )  # fmt: skip
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA vivant")
        for one in sequences:
            connection.execute(f"CREATE SEQUENCE vivant.{one}")  # type: ignore[arg-type]
        draw = "SELECT " + ", ".join(f"nextval('vivant.{one}')" for one in ("va", "recule", "tourne"))
        try:
            root = _export_while_drawing(server, tmp_path / "b", lambda: connection.execute(draw))  # type: ignore[arg-type]
        finally:
            connection.execute("DROP SCHEMA vivant CASCADE")
    path = root / asset_of(root, "comptoir").folder / "database.json"
    kept = {one["name"]: one["last_value"] for one in json.loads(path.read_text())["sequence_values"]}

    assert (kept["vivant.va"], kept["vivant.recule"], kept["vivant.tourne"], kept["vivant.dort"]) == (21, -3, 1, None)
    assert not wrong(findings(root, "comptoir"))
    for name, value, next_there in (
        ("va", 1, "21 .. 41"), ("va", 41, "21 .. 41"), ("va", 22, "21 .. 41"), ("va", None, "21 .. 41"),
        ("recule", -1, "-3 .. -5"), ("recule", -5, "-3 .. -5"), ("tourne", 5, "10 .. 3"), ("dort", 7, "7"),
        ("saute", 2, "1"),
    ):  # fmt: skip
        _set(path, f"vivant.{name}", last_value=value)
        found = findings(root, "comptoir")["data.metadata_classes_missing"]
        _set(path, f"vivant.{name}", last_value=kept[f"vivant.{name}"])

        assert found.value == 1, (name, value)
        assert f"sequence value of vivant.{name}: " in found.places[0]
        assert found.places[0].endswith(f"next, at the source {next_there}")
    _set(path, "vivant.va", increment=-10)  # nor may the step be another
    assert findings(root, "comptoir")["data.metadata_classes_missing"].value == 1


def test_a_sequence_set_back_during_the_export_is_named(server: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE torture.repart")
        connection.execute("SELECT setval('torture.repart', 500)")
        try:
            root = _export_while_drawing(
                server, tmp_path / "b",
                lambda: connection.execute("SELECT setval('torture.repart', last_value - 100) FROM torture.repart"),
            )  # fmt: skip
        finally:
            connection.execute("DROP SEQUENCE torture.repart")

    assert findings(root, "comptoir")["data.metadata_classes_missing"].value == 1


def _export_while_drawing(server: PostgresServer, root: Path, draw: Callable[[], object]) -> Path:
    """The database's own asset, with `draw` called twice before the export, in it, and between it and the witness."""
    source = exporter(server)
    asset = next(one for one in source.discover() if one.kind is Kind.DATABASE)
    inner = source._schema

    def schema(*given: Any) -> dict[str, bytes]:
        draw()
        return inner(*given)

    source._schema = schema  # type: ignore[method-assign]
    draw()
    draw()
    with BundleWriter(root) as writer:
        source.export(asset, writer)
        draw()
        writer.put_witness(asset, source.witness(asset))
        writer.close_asset(asset, exporter="test", at=AT)
        source.close()
        return writer.finish(about={}, at=AT).root


def _set(path: Path, name: str, **values: Any) -> None:
    document = json.loads(path.read_text())
    next(one for one in document["sequence_values"] if one["name"] == name).update(values)
    path.write_text(json.dumps(document))


def test_another_encoding_or_collation_of_the_database_is_named(copy: Path) -> None:
    path = copy / asset_of(copy, "comptoir").folder / "database.json"
    text = path.read_text()
    for old, new, named in (
        ('"encoding": "UTF8", "locale"', '"encoding": "LATIN1", "locale"', "encoding LATIN1, at the source UTF8"),
        ('"collate": "C"', '"collate": "fr_FR"', "collate fr_FR, at the source C"),
    ):
        compact = json.dumps(json.loads(text), sort_keys=True)
        assert old in compact
        path.write_text(compact.replace(old, new))
        found = findings(copy, "comptoir")["data.metadata_classes_missing"]

        assert (found.value, found.places) == (1, (f"database locale: {named}",))


def test_a_truncated_dump_is_not_answered(copy: Path) -> None:
    path = copy / asset_of(copy, "comptoir").folder / "schema.sql"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("CREATE TABLE torture.nombres") + 60], encoding="utf-8")

    with pytest.raises(BundleError, match=r"schema\.sql cannot be read"):
        findings(copy, "comptoir")
    found = {one.metric: one for one in Openness().verify(asset_of(copy, "comptoir"), Bundle.open(copy))}
    assert "comptoir schema.sql" in found["format.two_readers_ok_pct"].places[0]


# --- refusals ----------------------------------------------------------------------------------------------------


def test_missing_select_on_one_table_is_named_and_the_rest_goes_on(server: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("REVOKE SELECT ON torture.client FROM exit_reader")
        try:
            source = exporter(server, user="exit_reader")
            checks = {one.subject: one for one in source.check()}
            bundle, refused = export(source, tmp_path / "b")
        finally:
            connection.execute("GRANT SELECT ON torture.client TO exit_reader")

    assert not checks["torture.client"].ok
    assert checks["torture.client"].hint == "GRANT SELECT ON torture.client TO exit_reader"
    assert refused["torture.client"].message == "table torture.client: SELECT denied to exit_reader"
    assert refused["torture.client"].hint == "GRANT SELECT ON torture.client TO exit_reader"
    assert refused["torture.secrets"].hint == "ALTER ROLE exit_reader BYPASSRLS"  # never a filtered read
    assert set(refused) == {"torture.client", "torture.secrets"}
    assert {"torture.commande", "comptoir"} <= {asset.name for asset in bundle.assets}
    missing = findings(bundle.root, "comptoir")["data.metadata_classes_missing"]
    assert "table torture.client" in missing.places


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("postgresql://exit_reader@127.0.0.1:{closed}/comptoir", "nothing listens there"),
        ("postgresql://exit_reader@127.0.0.1:{port}/nulle_part", 'database "nulle_part" does not exist'),
        ("postgresql://exit_reader@hote.invalid:{port}/comptoir", "the host name is unknown"),
        ("postgresql://postgres@127.0.0.1:{port}/comptoir", "the password is refused"),
        ("n'importe quoi", "is not a connection URL"),
    ],
)
def test_a_refused_connection_is_one_line_with_a_fix_and_no_password(
    server: PostgresServer, url: str, seen: str
) -> None:
    source = exporter(server, user="exit_reader", url=url.format(port=server.port, closed=closed_port()))
    with pytest.raises(SourceError) as caught:
        list(source.discover())
    message = caught.value.message

    assert seen in message
    assert "\n" not in message
    assert caught.value.hint
    assert READER_PASSWORD not in message + caught.value.hint + repr(source) + repr(source.settings)
    source.close()


def test_a_server_that_does_not_answer_is_left_in_time(server: PostgresServer) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/comptoir"
        with pytest.raises(SourceError, match="no answer in time"):
            list(exporter(server, url=url, connect_timeout_s=2).discover())


def test_no_pg_dump_or_an_old_one_names_the_setting(server: PostgresServer, tmp_path: Path) -> None:
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.4'\n")
    old.chmod(0o755)
    for setting, message in (
        (old, "is version 12, older than the server's 18"),
        (tmp_path / "none", "is not a program"),
    ):
        source = exporter(server, pg_dump=setting)
        database = next(asset for asset in source.discover() if asset.kind is Kind.DATABASE)
        with BundleWriter(tmp_path / "b") as writer, pytest.raises(SourceError, match=message) as caught:
            source.export(database, writer)

        assert "pg_dump = " in caught.value.hint
        source.close()


@pytest.fixture
def large(server: PostgresServer) -> Iterator[str]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE torture.grand AS SELECT g AS id, repeat('x', 200) AS t FROM generate_series(1, 400000) g"
        )
        yield "torture.grand"
        connection.execute("DROP TABLE torture.grand")


def test_a_connection_killed_in_mid_copy_is_one_error(server: PostgresServer, large: str, tmp_path: Path) -> None:
    source = exporter(server)
    asset = next(asset for asset in source.discover() if asset.name == large)

    def kill() -> None:
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%grand%' AND state = 'active'"
        )
        with psycopg.connect(server.url, autocommit=True) as connection:
            deadline = time.monotonic() + 10
            while not connection.execute(query).fetchall() and time.monotonic() < deadline:
                time.sleep(0.005)

    killer = threading.Thread(target=kill)
    killer.start()
    with BundleWriter(tmp_path / "b") as writer:
        with pytest.raises(SourceError, match=rf"table {large}: the connection to .* was lost while reading"):
            source.export(asset, writer)
        killer.join()
        assert not writer.has(f"{asset.folder}/table.json")
        with pytest.raises(SourceError, match="the snapshot that its export read is gone"):
            source.witness(asset)

        source.export(asset, writer)  # the same command again: a new snapshot, the whole table anew
        writer.put_witness(asset, source.witness(asset))
        writer.close_asset(asset, exporter="test", at=AT)
        root = writer.finish(about={}, at=AT).root
    source.close()

    assert not wrong(findings(root, large))


def test_a_table_that_takes_too_long_is_refused_alone(server: PostgresServer, large: str, tmp_path: Path) -> None:
    source = exporter(server, statement_timeout_s=0.2)
    assets = {asset.name: asset for asset in source.discover()}
    with BundleWriter(tmp_path / "b") as writer:
        with pytest.raises(SourceError, match="statement timeout") as caught:
            source.export(assets[large], writer)
        source.export(assets["torture.parent"], writer)

        assert "statement_timeout_s" in caught.value.hint
        assert writer.has(f"{assets['torture.parent'].folder}/table.json")
    source.close()


@pytest.fixture
def wide(server: PostgresServer) -> Iterator[str]:
    """A table of about 60 blocks, read in ranges of four."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE torture.large AS SELECT g AS id, CASE WHEN g % 7 = 0 THEN 'infinity' ELSE"
            " date '2026-01-01' + g % 900 END AS jour, repeat('x', 60) AS t FROM generate_series(1, 5000) g"
        )
        yield "torture.large"
        connection.execute("DROP TABLE torture.large")


RANGES = {"part_mib": 4 * 8192 / (1 << 20)}


def interrupted(server: PostgresServer, root: Path, name: str) -> Asset:
    """An export of one table whose process dies before the witness."""
    source = exporter(server, **RANGES)
    asset = next(one for one in source.discover() if one.name == name)
    with BundleWriter(root) as writer:
        source.export(asset, writer)
    source.close()
    return asset


def resumed(server: PostgresServer, root: Path, asset: Asset, **settings: Any) -> Bundle:
    source = exporter(server, **{**RANGES, **settings})
    with BundleWriter(root) as writer:
        source.export(asset, writer)
        writer.put_witness(asset, source.witness(asset))
        writer.close_asset(asset, exporter="test", at=AT)
        bundle = writer.finish(about={"tool": "test"}, at=AT)
    source.close()
    return bundle


def files(root: Path, asset: Asset) -> dict[str, tuple[int, bytes]]:
    """Each file of the table: when it was written, and what it holds."""
    folder = root / asset.folder
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def test_a_resumed_export_keeps_the_parts_of_an_unchanged_table(
    server: PostgresServer, wide: str, tmp_path: Path
) -> None:
    asset = interrupted(server, tmp_path / "b", wide)
    before = files(tmp_path / "b.partial", asset)
    bundle = resumed(server, tmp_path / "b", asset)
    after = files(bundle.root, asset)
    undisturbed = files(resumed(server, tmp_path / "other", asset).root, asset)

    assert len([name for name in before if name.endswith(".exceptions.parquet")]) > 10
    assert {name: one for name, one in after.items() if name.endswith(".parquet")} == {
        name: one for name, one in before.items() if name.endswith(".parquet")
    }
    assert contents(after) == contents(undisturbed)
    assert not wrong(findings(bundle.root, wide))


def contents(found: dict[str, tuple[int, bytes]]) -> dict[str, bytes]:
    """What the files hold; origins.json tells of the snapshot, which is another one in each run."""
    return {name: content for name, (_, content) in found.items() if name != "origins.json"}


def test_a_part_whose_exceptions_were_lost_is_read_again(server: PostgresServer, wide: str, tmp_path: Path) -> None:
    asset = interrupted(server, tmp_path / "b", wide)
    sidecar = next((tmp_path / "b.partial" / asset.folder).glob("*.exceptions.parquet"))
    before = sidecar.read_bytes()
    sidecar.unlink()
    source = exporter(server, **RANGES)
    with BundleWriter(tmp_path / "b") as writer:
        assert not source.stands(asset, writer)
    source.close()
    bundle = resumed(server, tmp_path / "b", asset)

    assert (bundle.root / asset.folder / sidecar.name).read_bytes() == before
    assert not wrong(findings(bundle.root, wide))


def update(connection: psycopg.Connection[Any]) -> None:
    connection.execute("UPDATE torture.large SET t = 'y' WHERE id = 2500")


def delete(connection: psycopg.Connection[Any]) -> None:
    connection.execute("DELETE FROM torture.large WHERE id = 2500")


def insert(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO torture.large VALUES (0, '-infinity', 'neuf')")


def replace_in_place(connection: psycopg.Connection[Any]) -> None:
    """As many rows as before, in the same blocks: the new one lies where the vacuumed one lay."""
    connection.execute("DELETE FROM torture.large WHERE id = 2500")
    connection.execute("VACUUM torture.large")
    connection.execute("INSERT INTO torture.large VALUES (2500, 'infinity', 'autre')")


def rewrite(connection: psycopg.Connection[Any]) -> None:
    """The same rows in another order, with the transaction ids that they had."""
    connection.execute("DELETE FROM torture.large WHERE id < 100")
    connection.execute("VACUUM FULL torture.large")


def exchange_column(connection: psycopg.Connection[Any]) -> None:
    """No row is touched: the values of the new column come from the catalog."""
    connection.execute("ALTER TABLE torture.large DROP COLUMN t")
    connection.execute("ALTER TABLE torture.large ADD COLUMN t text DEFAULT 'z'")


def widen(connection: psycopg.Connection[Any]) -> None:
    connection.execute("ALTER TABLE torture.large ALTER COLUMN jour TYPE timestamp")


CHANGES = (update, delete, insert, replace_in_place, rewrite, exchange_column, widen)


@pytest.mark.parametrize("change", CHANGES)
def test_a_resumed_export_reads_again_what_changed_meanwhile(
    server: PostgresServer, wide: str, tmp_path: Path, change: Callable[[psycopg.Connection[Any]], None]
) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE torture.advance (x integer)")  # a transaction id between data and change
        connection.execute("DROP TABLE torture.advance")
        asset = interrupted(server, tmp_path / "b", wide)
        before = files(tmp_path / "b.partial", asset)
        change(connection)
    source = exporter(server, **RANGES)
    with BundleWriter(tmp_path / "b") as writer:
        assert not source.stands(asset, writer)
    source.close()
    bundle = resumed(server, tmp_path / "b", asset)
    after = files(bundle.root, asset)

    assert not wrong(findings(bundle.root, wide))
    if change in (update, delete):  # the other ranges were not read again
        kept = [name for name in before if name in after and before[name] == after[name]]
        assert len(kept) > len(before) // 2


def test_a_label_renamed_below_a_domain_does_not_let_a_part_stand(server: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TYPE torture.etat AS ENUM ('neuf', 'vieux')")
        connection.execute("CREATE DOMAIN torture.etat_connu AS torture.etat")
        connection.execute("CREATE TABLE torture.bien AS SELECT 'neuf'::torture.etat_connu AS etat")
        connection.execute("CREATE TABLE torture.advance (x integer)")  # a transaction id between data and change
        connection.execute("DROP TABLE torture.advance")
        try:
            asset = interrupted(server, tmp_path / "b", "torture.bien")
            stood = []
            for change in ("SELECT 1", "ALTER TYPE torture.etat RENAME VALUE 'neuf' TO 'tout neuf'"):
                connection.execute(change)  # type: ignore[arg-type]
                source = exporter(server, **RANGES)
                with BundleWriter(tmp_path / "b") as writer:
                    stood.append(source.stands(asset, writer))
                source.close()
        finally:
            connection.execute("DROP TABLE torture.bien; DROP DOMAIN torture.etat_connu; DROP TYPE torture.etat")

    assert stood == [True, False]


def test_other_ranges_than_those_of_the_stopped_run_are_read_again(
    server: PostgresServer, wide: str, tmp_path: Path
) -> None:
    asset = interrupted(server, tmp_path / "b", wide)
    bundle = resumed(server, tmp_path / "b", asset, part_mib=64.0)

    assert len(bundle.parts(asset, "part-?????.parquet")) == 1
    assert not wrong(findings(bundle.root, wide))


def test_a_table_that_was_emptied_after_the_snapshot_is_refused(
    server: PostgresServer, wide: str, tmp_path: Path
) -> None:
    source = exporter(server)
    asset = next(one for one in source.discover() if one.name == wide)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("TRUNCATE torture.large")
    with BundleWriter(tmp_path / "b") as writer, pytest.raises(SourceError, match="truncated or rewritten"):
        source.export(asset, writer)
    source.close()


SWAPS = {
    "another table has its name": (
        "CREATE TABLE torture.neuve AS SELECT * FROM torture.vive; ALTER TABLE torture.vive RENAME TO vieille;"
        " ALTER TABLE torture.neuve RENAME TO vive"
    ),
    "two columns changed names": (
        "ALTER TABLE torture.vive RENAME a TO x; ALTER TABLE torture.vive RENAME b TO a;"
        " ALTER TABLE torture.vive RENAME x TO b"
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", SWAPS)
def test_a_table_whose_name_leads_elsewhere_since_the_snapshot_is_refused(
    server: PostgresServer, tmp_path: Path, change: str
) -> None:
    """The usual way to change a large table: export and witness would both read the new one, empty to the snapshot."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE torture.vive AS SELECT n AS a, -n AS b FROM generate_series(1, 100) n")
        source = exporter(server)
        try:
            asset = next(one for one in source.discover() if one.name == "torture.vive")
            connection.execute(SWAPS[change])  # type: ignore[arg-type]
            with BundleWriter(tmp_path / "b") as writer, pytest.raises(SourceError, match="or be another one"):
                source.export(asset, writer)
        finally:
            source.close()
            connection.execute("DROP TABLE IF EXISTS torture.vive, torture.vieille")


def test_a_partition_attached_after_the_snapshot_does_not_leave_twice(server: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE torture.tout (id int) PARTITION BY RANGE (id)")
        connection.execute("CREATE TABLE torture.tout_a PARTITION OF torture.tout FOR VALUES FROM (0) TO (50)")
        connection.execute("CREATE TABLE torture.tout_b AS SELECT n AS id FROM generate_series(50, 99) n")
        source = exporter(server)
        try:
            asset = next(one for one in source.discover() if one.name == "torture.tout")
            connection.execute("CREATE TABLE torture.tout_c PARTITION OF torture.tout FOR VALUES FROM (100) TO (200)")
            connection.execute("INSERT INTO torture.tout VALUES (150)")
            with BundleWriter(tmp_path / "a") as writer:
                source.export(asset, writer)  # a partition newer than the snapshot has nothing in it
        finally:
            source.close()
        source = exporter(server)
        try:
            asset = next(one for one in source.discover() if one.name == "torture.tout")
            connection.execute("ALTER TABLE torture.tout ATTACH PARTITION torture.tout_b FOR VALUES FROM (50) TO (100)")
            with BundleWriter(tmp_path / "b") as writer, pytest.raises(SourceError, match="its partitions"):
                source.export(asset, writer)
        finally:
            source.close()
            connection.execute("DROP TABLE torture.tout")


def test_a_sequence_that_may_not_be_read_is_never_a_whole_pass(server: PostgresServer, tmp_path: Path) -> None:
    """Its value looks like that of one never used; restored, it would give numbers that rows have already."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE torture.close")
        connection.execute("SELECT nextval('torture.close')")
        try:
            bundle, _ = export(exporter(server, user="exit_reader"), tmp_path / "b")
        finally:
            connection.execute("DROP SEQUENCE torture.close")
    found = findings(bundle.root, "comptoir")["data.metadata_classes_missing"]
    document = bundle.document(asset_of(bundle.root, "comptoir"), "database.json")

    assert found.coverage < 1
    assert any("torture.close" in one for one in document["limitations"])


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_connections_gives_the_same_bytes(
    server: PostgresServer, wide: str, tmp_path: Path, workers: int
) -> None:
    source = exporter(server)
    asset = next(one for one in source.discover() if one.name == wide)
    source.close()
    one = files(resumed(server, tmp_path / "one", asset, workers=1).root, asset)
    several = files(resumed(server, tmp_path / "several", asset, workers=workers).root, asset)

    assert contents(one) == contents(several)


@pytest.mark.parametrize("change", [None, update, replace_in_place, rewrite])
def test_a_later_run_takes_over_what_is_unchanged_since(
    server: PostgresServer, wide: str, tmp_path: Path, change: Callable[[psycopg.Connection[Any]], None] | None
) -> None:
    source = exporter(server, **RANGES)
    asset = next(one for one in source.discover() if one.name == wide)
    source.close()
    earlier = resumed(server, tmp_path / "earlier", asset)
    if change is not None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            change(connection)
    read: list[str] = []
    copy = postgres_table.copy

    def counting(session: Any, query: str, *arguments: Any) -> Any:
        read.append(query)
        return copy(session, query, *arguments)

    source = exporter(server, **RANGES)
    with pytest.MonkeyPatch.context() as patch, BundleWriter(tmp_path / "later", since=earlier) as writer:
        patch.setattr(postgres_table, "copy", counting)
        source.export(asset, writer)
        writer.put_witness(asset, source.witness(asset))
        writer.close_asset(asset, exporter="test", at=AT)
        later = writer.finish(about={"tool": "test"}, at=AT)
    source.close()
    later.check()
    parts = len(later.parts(asset, "part-?????.parquet"))

    assert not wrong(findings(later.root, wide))
    if change is None:
        assert read == []
        assert contents(files(later.root, asset)) == contents(files(earlier.root, asset))
    elif change is update:  # the row's own range, and the last one, where its new version lies
        assert 1 <= len(read) <= 2 < parts
    elif change is rewrite:
        assert len(read) == parts


def test_a_damaged_earlier_bundle_is_not_taken_over(server: PostgresServer, wide: str, tmp_path: Path) -> None:
    source = exporter(server, **RANGES)
    asset = next(one for one in source.discover() if one.name == wide)
    source.close()
    earlier = resumed(server, tmp_path / "earlier", asset)
    part = earlier.parts(asset, "part-?????.parquet")[2]
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    source = exporter(server, **RANGES)  # a later snapshot than the earlier run's: with an older one nothing stands
    try:
        with BundleWriter(tmp_path / "later", since=earlier) as writer, pytest.raises(BundleError, match="part-00002"):
            source.export(asset, writer)
    finally:
        source.close()


def test_a_strong_witness_proves_the_rows_and_sees_damage(server: PostgresServer, wide: str, tmp_path: Path) -> None:
    source = exporter(server)
    asset = next(one for one in source.discover() if one.name == wide)
    source.close()
    bundle = resumed(server, tmp_path / "b", asset, strong=True)
    witness = bundle.witness(asset)

    assert witness.facts["strong"]["rows"] == 5000
    assert not wrong(findings(bundle.root, wide))

    # A forger who also rewrote the additive sums, for which the challenge is known by now.
    part = bundle.parts(asset, "part-?????.parquet")[0]
    pq.write_table(column("t", at(7, lambda one: one + "y"))(pq.read_table(part)), part, compression="zstd")
    plan = fingerprint.Plan.from_json(witness.facts["fingerprint"])
    found = fingerprint.Accumulator(plan)
    for one in bundle.parts(asset, "part-?????.parquet"):
        for cells, rows in table_files.batches(one, plan):
            found.add(cells, rows)
    forged = {**witness.facts, "fingerprint": found.result().to_json()}
    forged["totals"]["t"]["sum"] = str(int(forged["totals"]["t"]["sum"]) + 1)
    forged["totals"]["t"]["max"] = str(int(forged["totals"]["t"]["max"]) + 1)
    folder = bundle.root / "data/witness" / asset.slug
    document = json.loads((folder / "witness.json").read_text(encoding="utf-8"))
    (folder / "witness.json").write_text(json.dumps({**document, "facts": forged}), encoding="utf-8")
    for name, table in found.result().to_tables().items():
        pq.write_table(table, folder / f"{name}.parquet")

    assert findings(bundle.root, wide)["data.cells_different"].value


def test_a_source_that_may_be_read_slowly_only_is_read_slowly(
    server: PostgresServer, large: str, tmp_path: Path
) -> None:
    source = exporter(server, max_mib_per_s=40)
    asset = next(one for one in source.discover() if one.name == large)
    begin = time.monotonic()
    with BundleWriter(tmp_path / "b") as writer:
        source.export(asset, writer)
    source.close()

    assert time.monotonic() - begin > 1.5  # 400,000 rows of over 200 bytes are 80 MiB: no sooner than in two seconds


def test_export_and_witness_see_one_moment(server: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE torture.mouvante AS SELECT 1 AS id")
        try:
            source = exporter(server)
            asset = next(one for one in source.discover() if one.name == "torture.mouvante")
            with BundleWriter(tmp_path / "b") as writer:
                connection.execute("INSERT INTO torture.mouvante VALUES (2)")
                source.export(asset, writer)
                connection.execute("UPDATE torture.mouvante SET id = id + 10")
                writer.put_witness(asset, source.witness(asset))
                writer.close_asset(asset, exporter="test", at=AT)
                root = writer.finish(about={}, at=AT).root
            source.close()
        finally:
            connection.execute("DROP TABLE torture.mouvante")

    assert not wrong(findings(root, "torture.mouvante"))
    assert Bundle.open(root).document(asset, "table.json")["rows"] == 1


def test_tables_of_two_moments_never_mix_in_one_export(server: PostgresServer, tmp_path: Path) -> None:
    """A connection that is lost between two tables is not opened again as if nothing were."""
    source = exporter(server)
    one, other = [asset for asset in source.discover() if asset.name in ("torture.client", "torture.commande")]
    with BundleWriter(tmp_path / "b") as writer, psycopg.connect(server.url, autocommit=True) as connection:
        source.export(one, writer)
        writer.put_witness(one, source.witness(one))
        session = source._pool.session
        connection.execute("SELECT pg_terminate_backend(%s)", (session.connection.info.backend_pid,))
        session.close()  # a lost connection is noticed at the next query at the latest
        for ask in (source.export, source.stands):
            with pytest.raises(SourceLostError, match="the snapshot that the export began with"):
                ask(other, writer)
    source.close()


def test_it_only_reads_even_as_superuser(server: PostgresServer) -> None:
    source = exporter(server)
    checks = list(source.check())
    session = source._pool.session

    assert any("is a superuser" in one.seen for one in checks)
    with pytest.raises(ReversibleError, match="read-only"), session.reading("a write"):
        session.rows("DELETE FROM torture.client RETURNING id")
    source.close()


def test_no_password_is_in_the_bundle(server: PostgresServer, tmp_path: Path) -> None:
    bundle, _ = export(exporter(server, user="exit_reader"), tmp_path / "b")

    for path in (one for one in bundle.root.rglob("*") if one.is_file()):
        assert READER_PASSWORD.encode() not in path.read_bytes()


def test_endpoints_are_what_the_rerun_must_not_reach(server: PostgresServer) -> None:
    assert exporter(server).endpoints == (server.endpoint,)
    assert exporter(server, url="postgresql://u@a:1,b:2/d").endpoints == ("a:1", "b:2")
    assert exporter(server, url="postgresql://u@a/d").endpoints == ("a:5432",)


LARGE = ("pg_catalog.pg_largeobject", "pg_catalog.pg_largeobject_metadata")


@pytest.fixture
def large_objects(server: PostgresServer) -> Iterator[list[int]]:
    """One of several pages, one with a hole, an empty one."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex')) UNION ALL SELECT lo_create(0)"
            " UNION ALL SELECT lo_create(0)"
        ).fetchall()
        found = [oid for (oid,) in rows]
        connection.execute("SELECT lo_put(%s, 100000, 'loin')", (found[1],))
        yield found
        for oid in found:
            connection.execute("SELECT lo_unlink(%s)", (oid,))


def test_large_objects_leave_page_by_page(server: PostgresServer, large_objects: list[int], tmp_path: Path) -> None:
    bundle, refused = export(exporter(server), tmp_path / "b")
    pages, described = (
        pq.read_table(bundle.parts(asset_of(bundle.root, name), "part-00000.parquet")[0]).to_pylist() for name in LARGE
    )

    assert not refused
    assert sorted(one["oid"] for one in described) == sorted(large_objects)
    whole = sorted((page["pageno"], page["data"]) for page in pages if page["loid"] == large_objects[0])
    assert b"".join(data for _, data in whole) == bytes.fromhex("00ff" * 5000)
    assert [page["pageno"] for page in pages if page["loid"] == large_objects[1]] == [100000 // 2048]
    assert not any(wrong(findings(bundle.root, name)) for name in LARGE)


def test_large_objects_that_may_not_be_read_are_named_with_the_grant(
    server: PostgresServer, large_objects: list[int], tmp_path: Path
) -> None:
    _, refused = export(exporter(server, user="exit_reader"), tmp_path / "b")

    assert large_objects
    assert refused[LARGE[0]].hint == "GRANT SELECT ON pg_catalog.pg_largeobject TO exit_reader"


# --- names, widths, lengths, rights --------------------------------------------------------------------------------


def test_1600_columns_leave(server: PostgresServer, tmp_path: Path) -> None:
    columns = ", ".join(f"c{n} {('numeric(6,2)', 'date', 'text', 'int')[n % 4]}" for n in range(1600))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE torture.huge ({columns})")  # type: ignore[arg-type]
        connection.execute("INSERT INTO torture.huge (c0, c1, c1596, c1599) VALUES ('NaN', 'infinity', 1.5, 5)")
        connection.execute("INSERT INTO torture.huge DEFAULT VALUES")
        try:
            source = exporter(server)
            asset = next(one for one in source.discover() if one.name == "torture.huge")
            source.close()
            bundle = resumed(server, tmp_path / "b", asset)
        finally:
            connection.execute("DROP TABLE torture.huge")

    assert not wrong(findings(bundle.root, "torture.huge"))


NAMES = (
    'guillemet " double', "apostrophe '", "saut\nde\nligne", "tab\t", "..", "/etc/passwd", "select", "é" * 31,
    "🙂" * 15, "point.point", "%s %(x)s {y}", "--", "$1", "\\", " espace ", "A", "a",
)  # fmt: skip


@pytest.mark.parametrize("schema", ["..", 'sc"h é\n/x'])
def test_hostile_names_leave_and_damage_is_named_by_them(server: PostgresServer, tmp_path: Path, schema: str) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {quoted(schema)}")  # type: ignore[arg-type]
        try:
            for name in NAMES:
                columns = ", ".join(f"{quoted(one)} text" for one in NAMES)
                table = f"{quoted(schema)}.{quoted(name)}"
                connection.execute(f"CREATE TABLE {table} ({columns})")  # type: ignore[arg-type]
                connection.execute(f"INSERT INTO {table} VALUES ('x')")  # type: ignore[arg-type]  # noqa: S608
            bundle, refused = export(exporter(server), tmp_path / "b")
        finally:
            connection.execute(f"DROP SCHEMA {quoted(schema)} CASCADE")  # type: ignore[arg-type]
    hostile = [asset for asset in bundle.assets if asset.kind is Kind.TABLE and not asset.name.startswith("torture.")]
    bundle.check()

    assert not refused
    assert len(hostile) == len(NAMES)
    assert not any(wrong(findings(bundle.root, asset.name)) for asset in hostile)


def test_a_column_that_may_not_be_read_is_named(server: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE torture.paie (id int, nom text, salaire int)")
        connection.execute("GRANT SELECT (id, nom) ON torture.paie TO exit_reader")
        try:
            _, refused = export(exporter(server, user="exit_reader"), tmp_path / "b")
        finally:
            connection.execute("DROP TABLE torture.paie")

    assert refused["torture.paie"].message == "table torture.paie: SELECT denied to exit_reader on column salaire"


def test_a_partition_that_may_not_be_read_alone_is_read_through_its_parent(
    server: PostgresServer, tmp_path: Path
) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("REVOKE SELECT ON torture.mesures_b0 FROM exit_reader")
        source = exporter(server, user="exit_reader", part_rows=400)
        asset = next(one for one in source.discover() if one.name == "torture.mesures")
        try:
            with BundleWriter(tmp_path / "b") as writer:
                source.export(asset, writer)
                writer.put_witness(asset, source.witness(asset))
                writer.close_asset(asset, exporter="test", at=AT)
                bundle = writer.finish(about={"tool": "test"}, at=AT)
        finally:
            connection.execute("GRANT SELECT ON torture.mesures_b0 TO exit_reader")
            source.close()

    assert [pq.read_metadata(part).num_rows for part in bundle.parts(asset, "part-?????.parquet")] == [400, 400, 200]
    assert not wrong(findings(bundle.root, asset.name))


def test_row_level_security_on_a_partition_alone_hides_nothing(server: PostgresServer, tmp_path: Path) -> None:
    """Through the parent the partition's own policies do not apply; read alone, the leaf would refuse."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE torture.mesures_x ENABLE ROW LEVEL SECURITY")
        try:
            bundle, refused = export(exporter(server, user="exit_reader"), tmp_path / "b")
        finally:
            connection.execute("ALTER TABLE torture.mesures_x DISABLE ROW LEVEL SECURITY")

    assert "torture.mesures" not in refused
    assert Bundle.open(bundle.root).document(asset_of(bundle.root, "torture.mesures"), "table.json")["rows"] == 1000


def test_no_more_connections_means_fewer_readers_and_no_failure(
    server: PostgresServer, wide: str, tmp_path: Path
) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER ROLE exit_reader CONNECTION LIMIT 1")
        connection.execute("GRANT SELECT ON torture.large TO exit_reader")
        source = exporter(server, user="exit_reader", workers=4, **RANGES)
        try:
            asset = next(one for one in source.discover() if one.name == wide)
            with BundleWriter(tmp_path / "b") as writer:
                source.export(asset, writer)
                assert writer.has(f"{asset.folder}/table.json")
        finally:
            source.close()
            connection.execute("ALTER ROLE exit_reader CONNECTION LIMIT -1")


def test_a_column_twice_in_a_file_and_one_not_declared_are_never_equal(copy: Path, faithful: Path) -> None:
    """A reader by name sees the last of two columns, and a reader of the declared ones sees no other."""
    part = Bundle.open(copy).parts(asset_of(copy, "torture.client"))[0]
    table = pq.read_table(part)
    pq.write_table(table.add_column(0, table.schema.field(1), table.column(1)), part)

    assert findings(copy, "torture.client")["data.schema_drift_undeclared"].value == 1
    with pytest.raises(BundleError, match=r"are not those of table\.json"):
        open_table(f"{copy}#torture.client")

    pq.write_table(table.append_column("autre", pa.nulls(table.num_rows, pa.int8())), part)
    with pytest.raises(BundleError, match=r"are not those of table\.json"):
        open_table(f"{copy}#torture.client")


# --- openness ----------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garbage(path: Path) -> None:
    path.write_bytes(b"PAR1" + bytes(200) + b"PAR1")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lock(path: Path) -> None:
    """An encrypted footer, as Parquet modular encryption writes it."""
    path.write_bytes(b"PARE" + os.urandom(300) + b"PARE")


@pytest.mark.parametrize("damage", [cut, garbage, empty, lock])
def test_a_broken_parquet_file_is_measured_by_openness_and_unanswered_by_the_others(
    copy: Path, damage: Callable[[Path], None]
) -> None:
    bundle = Bundle.open(copy)
    asset = asset_of(copy, "torture.client")
    damage(bundle.parts(asset)[0])
    found = {one.metric: one for one in Openness().verify(asset, bundle)}

    assert found["format.two_readers_ok_pct"].value == pytest.approx(200 / 3)  # table.json and origins.json open
    assert found["format.two_readers_ok_pct"].places[0].startswith("torture.client part-00000.parquet: ")
    assert float(str(found["format.open_pct"].value)) < 100
    assert found["format.needs_vendor_reader"].value == 1
    assert found["crypto.vendor_key_only_objects"].value == (1 if damage is lock else 0)
    for verifier in (Rows(), Values(), Schema()):
        with pytest.raises(BundleError, match=r"part-00000\.parquet cannot be read"):
            list(verifier.verify(asset, bundle))


def test_a_file_in_no_open_format_is_named(copy: Path) -> None:
    bundle = Bundle.open(copy)
    asset = asset_of(copy, "torture.client")
    (bundle.folder(asset) / "client.dmp").write_bytes(b"\x00ORACLE")
    found = {one.metric: one for one in Openness().verify(asset, bundle)}

    assert found["format.needs_vendor_reader"].places == ("torture.client client.dmp",)
    assert float(str(found["format.open_pct"].value)) < 100


def test_a_missing_part_in_the_middle_is_unanswered(copy: Path) -> None:
    bundle = Bundle.open(copy)
    asset = asset_of(copy, "torture.mesures")
    bundle.parts(asset)[1].unlink()

    with pytest.raises(BundleError, match="a part is missing"):
        list(Rows().verify(asset, bundle))
