"""Damage that hashes cannot see, inflicted on the demo's own database: each is caught by a check, at its place."""

import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from reversible import registry
from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.testing import mutations
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_samples import company
from reversible_samples.postgres_server import PostgresServer

HARD, GOODS, LINES, ORDERS, PROBE = (
    f"boutique.{name}" for name in ("cas_difficiles", "produit", "ligne", "commande", "temperature_entrepot")
)
GOOD = {"format.open_pct": 100, "format.two_readers_ok_pct": 100}  # of the others, 0 is good


@pytest.fixture(scope="module")
def faithful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    root = tmp_path_factory.mktemp("company")
    with PostgresServer(root / "server") as server:
        company.load_database(server.url, "reader's own")
        settings = PostgresSettings.model_validate({"url": server.url_of("exit_reader"), "password": "${READER}"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("READER", "reader's own")
            patch.setenv("PATH", str(server.pg_dump.parent), prepend=":")
            exporter = PostgresExporter("shop", settings)
            with BundleWriter(root / "bundle") as writer:
                for asset in exporter.discover():
                    exporter.export(asset, writer)
                    writer.put_witness(asset, exporter.witness(asset))
                    writer.close_asset(asset, exporter="test", at=datetime.now(UTC))
                yield writer.finish(about={}, at=datetime.now(UTC))
            exporter.close()


@pytest.fixture
def copy(faithful: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faithful.root, tmp_path / "bundle"))


def complaints(root: Path, name: str) -> list[str]:
    """What the verifiers say against one asset: places of findings that are off, and what they could not read."""
    bundle = Bundle.open(root)
    asset = asset_of(root, name)
    said: list[str] = []
    for verifier in registry.verifiers().values():
        if asset.kind in verifier.kinds:
            try:
                for finding in verifier.verify(asset, bundle):
                    if finding.value is None or finding.coverage < 1 or finding.value != GOOD.get(finding.metric, 0):
                        said += [f"{finding.metric}: {place}" for place in finding.places or ("",)]
            except Exception as error:  # noqa: BLE001 - a check that cannot look leaves the clause unproven
                said.append(f"unanswered: {error}")
    return said


def asset_of(root: Path, name: str) -> Asset:
    return next(asset for asset in Bundle.open(root).assets if asset.name == name)


def edit(root: Path, name: str, change: Callable[[pa.Table], pa.Table], part: str = "part-00000.parquet") -> None:
    path = root / asset_of(root, name).folder / part
    pq.write_table(change(pq.read_table(path)), path, compression="zstd")


def cell(column: str, wanted: Callable[[Any], bool], new: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """Change the first value of the column that is as wanted."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        at = next(n for n, value in enumerate(values) if wanted(value))
        values[at] = new(values[at])
        field = table.field(column)
        return table.set_column(table.column_names.index(column), field, pa.array(values, field.type))

    return change


def present(value: Any) -> bool:
    return value is not None


VALUES: dict[str, tuple[str, Callable[[pa.Table], pa.Table], str]] = {
    **{
        f"{column} becomes NULL": (HARD, cell(column, present, lambda _: None), f"{HARD}.{column}")
        for column in (
            "montant",
            "jour",
            "instant",
            "heure",
            "duree",
            "grille",
            "document",
            "periode",
            "octets",
            "texte",
        )
    },
    "an empty string becomes NULL": (HARD, cell("texte", lambda v: v == "", lambda _: None), f"{HARD}.texte"),
    "NFD becomes NFC": (
        HARD,
        cell("texte", lambda v: v and "NFD" in v, lambda v: unicodedata.normalize("NFC", v)),
        f"{HARD}.texte",
    ),
    "a trailing space is lost": (HARD, cell("texte", lambda v: v and v.endswith(" "), str.rstrip), f"{HARD}.texte"),
    "the thirtieth digit changes": (
        HARD,
        cell("montant", lambda v: v and len(v) > 40, lambda v: v[:-1] + "1"),
        f"{HARD}.montant",
    ),
    "a zero of jsonb is lost": (
        HARD,
        cell("document", lambda v: v and "1.000" in v, lambda v: v.replace("1.000", "1.0")),
        f"{HARD}.document",
    ),
    "NaN becomes NULL": (
        GOODS,
        cell("poids_kg", lambda v: v is not None and v != v, lambda _: None),
        f"{GOODS}.poids_kg",
    ),
    "a key changes": (LINES, cell("rang", present, lambda _: 99), "data.rows_missing"),
    "a keyless row is lost beside a doubled one": (
        PROBE,
        lambda table: pa.concat_tables([table.slice(1), table.slice(5, 1)]),
        "data.rows_missing",
    ),
    "all rows are gone": (LINES, lambda table: table.slice(0, 0), "data.rows_missing"),
    "the zone is dropped": (
        ORDERS,
        lambda table: table.set_column(
            4, pa.field("passee_le", pa.timestamp("us")), table["passee_le"].cast(pa.timestamp("us"))
        ),
        "data.schema_drift_undeclared",
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_damaged_table_is_caught_at_its_place(copy: Path, name: str) -> None:
    asset, change, place = VALUES[name]
    edit(copy, asset, change)

    assert any(place in said for said in complaints(copy, asset))


def test_a_table_in_another_order_is_the_same_table(copy: Path) -> None:
    edit(copy, PROBE, lambda table: table.take(pa.array(range(table.num_rows - 1, -1, -1))))

    assert complaints(copy, PROBE) == []


SIDECAR: dict[str, Callable[[pa.Table], pa.Table]] = {
    "emptied": lambda table: table.slice(0, 0),
    "shifted": lambda table: table.set_column(0, table.field(0), pc.add(table["row"], 1).cast(table.field(0).type)),
    "doubled": lambda table: pa.concat_tables([table, table.slice(0, 1)]),
}


@pytest.mark.parametrize("how", SIDECAR)
def test_a_damaged_exceptions_sidecar_is_caught(copy: Path, how: str) -> None:
    edit(copy, HARD, SIDECAR[how], "part-00000.exceptions.parquet")

    assert complaints(copy, HARD)


@pytest.mark.parametrize("key", ["primary_key", "foreign_keys", "checks", "columns"])
def test_what_table_json_forgets_is_caught(copy: Path, key: str) -> None:
    path = copy / asset_of(copy, GOODS).folder / "table.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, key: document[key][:-1]}))

    assert any("data.schema_drift_undeclared" in said for said in complaints(copy, GOODS))


DEFINITIONS = {
    "a view's query": ("'annulée'::boutique.statut", "'payée'::boutique.statut", "view boutique.chiffre_par_mois"),
    "a view": (r"CREATE VIEW boutique.chiffre_par_mois.*?;\n", "", "view boutique.chiffre_par_mois"),
    "a function's body": (
        r"nextval\('boutique.numero_facture'",
        "currval('boutique.numero_facture'",
        "boutique.facturer",
    ),
    "a check": ("etoiles <= 5", "etoiles <= 6", "avis_etoiles_check"),
    "a grant": ("GRANT SELECT ON TABLE boutique.avis TO exit_reader;", "", "grant boutique.avis"),
    "a default": ("0.200", "0.100", "default boutique.produit.tva"),
    "a column's type": (r"siret character\(14\)", "siret character(15)", "column boutique.fournisseur.siret"),
    "NOT NULL": ("nom text NOT NULL", "nom text", "column boutique."),
    "a comment": ("balance en panne", "balance", "comment boutique.produit.poids_kg"),
    "a trigger": (r"CREATE TRIGGER .*?;\n", "", "trigger boutique.avis.avis_horodate"),
    "an index": (r"CREATE INDEX commande_ouverte.*?;\n", "", "index boutique.commande_ouverte"),
    "an index's predicate": (
        r"(CREATE INDEX commande_ouverte.*?)'panier'",
        r"\1'livrée'",
        "index boutique.commande_ouverte",
    ),
    "an enum's label": ("'expédiée'", "'expediee'", "type boutique.statut"),
    "a domain's check": (r"\{5\}", "{4,5}", "code_postal_check"),
    "a foreign key's action": (" ON DELETE CASCADE", "", "ligne_commande_fkey"),
    "a sequence's start": ("START WITH 100000", "START WITH 1", "sequence boutique.numero_facture"),
    "a partition's bound": ("'2025-01-01 00:00:00'", "'2025-02-01 00:00:00'", "partition boutique.paiement_2024"),
}


@pytest.mark.parametrize("what", DEFINITIONS)
def test_a_schema_that_says_something_else_is_caught_at_its_place(copy: Path, what: str) -> None:
    pattern, other, place = DEFINITIONS[what]
    path = copy / asset_of(copy, "comptoir").folder / "schema.sql"
    script = path.read_text(encoding="utf-8")
    changed = re.sub(pattern, other, script, count=1, flags=re.DOTALL)
    assert changed != script
    path.write_text(changed, encoding="utf-8")

    assert any(place in said for said in complaints(copy, "comptoir"))


def test_the_mutations_that_the_sabotage_plants_are_caught_at_the_place_they_name(copy: Path) -> None:
    planted = {
        LINES: mutations.round_decimal(copy, LINES, "remise"),
        "boutique.avis": mutations.drop_row(copy, "boutique.avis"),
        ORDERS: mutations.shift_time_zone(copy, ORDERS, "passee_le"),
    }
    mutations.reseal(copy)
    Bundle.open(copy).check()

    for name, place in planted.items():
        assert any(place in said for said in complaints(copy, name)), place


def test_a_faithful_copy_draws_no_complaint(faithful: Bundle) -> None:
    assert {asset.name: complaints(faithful.root, asset.name) for asset in faithful.assets} == {
        asset.name: [] for asset in faithful.assets
    }
