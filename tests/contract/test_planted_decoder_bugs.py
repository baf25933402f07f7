"""A faulty decoder in the exporter is caught by the witness, which reads the server by another route, and is named."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from filled_postgres import filled_server

from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import SourceError
from reversible.findings import Finding
from reversible_exporters import postgres_csv, postgres_witness
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_exporters.table_parts import Block
from reversible_samples.postgres_server import PostgresServer
from reversible_verifiers.rows import Rows
from reversible_verifiers.values import Values

pytestmark = pytest.mark.slow

TABLE = "boutique.mesure"
CREATE = """
CREATE SCHEMA boutique;
CREATE TABLE boutique.mesure (
    id bigint PRIMARY KEY, poids double precision, prix numeric(20,4), vu_le timestamptz, saisi_le timestamp,
    nom text, code varchar(20), stock bigint, vrai boolean, fin date);
INSERT INTO boutique.mesure
SELECT n, 1.0 / (n + 3), 12345678901234.5678 + n * 1.0001,
       timestamptz '2026-06-01 12:00:00.654321+00' + n * interval '1 day',
       timestamp '2026-06-01 12:00:00.123456' + n * interval '1 hour',
       CASE n % 10 WHEN 0 THEN '' WHEN 1 THEN NULL WHEN 2 THEN 'Zoé et Noël' ELSE 'ville ' || n END,
       'A' || n || repeat(' ', (n % 3)::int), 3000000000 + n, CASE n % 3 WHEN 0 THEN true WHEN 1 THEN false END,
       CASE WHEN n % 40 = 7 THEN 'infinity'::date ELSE date '2026-01-01' + n::int END
FROM generate_series(1, 200) n;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with filled_server(tmp_path_factory.mktemp("server"), CREATE) as running:
        yield running


def exported(server: PostgresServer, into: Path) -> list[Finding]:
    """The table leaves, its witness is taken, the vendor is not asked any more: what the verifiers say."""
    settings = {"url": server.url_of("postgres"), "password": "${OWNER}"}
    exporter = PostgresExporter("shop", PostgresSettings.model_validate(settings))
    with BundleWriter(into) as writer:
        asset = next(one for one in exporter.discover() if one.name == TABLE)
        exporter.export(asset, writer)
        writer.put_witness(asset, exporter.witness(asset))
        writer.close_asset(asset, exporter="test", at=datetime.now(UTC))
        writer.finish(about={}, at=datetime.now(UTC))
    exporter.close()
    bundle = Bundle.open(into)
    return [finding for one in (Values(), Rows()) for finding in one.verify(bundle.assets[0], bundle)]


@dataclass(frozen=True)
class Bug:
    """What the decoder does to a block, the column that shows it, the words for it, and at least how many cells.

    Beyond what the sketch holds the figure is a lower bound that varies with the challenge.
    """

    damage: Callable[[Block], Block]
    column: str
    count: int
    said: str


def column(name: str, change: Callable[[pa.Array], pa.Array]) -> Callable[[Block], Block]:
    def damage(block: Block) -> Block:
        at = block.batch.schema.get_field_index(name)
        field = block.batch.schema.field(at)
        arrays = list(block.batch.columns)
        arrays[at] = change(arrays[at]).cast(field.type)
        return Block(pa.RecordBatch.from_arrays(arrays, schema=block.batch.schema), block.exceptions)

    return damage


def each(change: Callable[[Any], Any], kind: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return lambda values: pa.array([None if one is None else change(one) for one in values.to_pylist()], kind)


def wrapped(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def local_as_utc(value: datetime) -> datetime:
    return value.astimezone(ZoneInfo("Europe/Paris")).replace(tzinfo=UTC)


def exceptions_one_row_late(block: Block) -> Block:
    return Block(block.batch, [(row + 1, name, text) for row, name, text in block.exceptions])


def last_row_lost(block: Block) -> Block:
    rows = block.batch.num_rows - 1
    return Block(block.batch.slice(0, rows), [one for one in block.exceptions if one[0] < rows])


def last_row_twice(block: Block) -> Block:
    batches = [block.batch, block.batch.slice(block.batch.num_rows - 1)]
    return Block(pa.concat_batches(batches), block.exceptions)


def last_row_is_the_one_before(block: Block) -> Block:
    rows = block.batch.num_rows
    batches = [block.batch.slice(0, rows - 1), block.batch.slice(rows - 2, 1)]
    return Block(pa.concat_batches(batches), [one for one in block.exceptions if one[0] < rows - 1])


def swapped_names(block: Block) -> Block:
    arrays = {field.name: values for field, values in zip(block.batch.schema, block.batch.columns, strict=True)}
    arrays["nom"], arrays["code"] = arrays["code"], arrays["nom"]
    return Block(pa.RecordBatch.from_arrays(list(arrays.values()), schema=block.batch.schema), block.exceptions)


BUGS: dict[str, Bug] = {
    "float through text with 15 digits": Bug(
        column("poids", each(lambda one: float(f"{one:.15g}"), pa.float64())), "poids", 100, "ulp|ULP|significant"
    ),
    "float through float32": Bug(
        column("poids", lambda values: values.cast(pa.float32(), safe=False)), "poids", 100, "float32"
    ),
    "decimal through float": Bug(
        column("prix", lambda values: values.cast(pa.float64()).cast(pa.decimal128(20, 4), safe=False)), "prix", 100,
        "float detour",
    ),
    "time zone dropped": Bug(
        column("vu_le", each(local_as_utc, pa.timestamp("us", "UTC"))), "vu_le", 150, "time zone +"
    ),
    "microseconds cut": Bug(
        column("saisi_le", lambda values: pc.floor_temporal(values, unit="second")), "saisi_le", 150, "sub-second cut"
    ),
    "'' to NULL": Bug(
        column("nom", lambda values: pc.if_else(pc.equal(values, ""), None, values)), "nom", 20, "null for empty"
    ),
    "latin-1": Bug(
        column("nom", each(lambda one: one.encode().decode("latin-1"), pa.string())), "nom", 20, "mojibake"
    ),
    "trailing spaces trimmed": Bug(column("code", pc.utf8_rtrim_whitespace), "code", 100, "trimming"),
    "int32 overflow": Bug(column("stock", each(wrapped, pa.int64())), "stock", 150, "overflow, 32 bits"),
    "bool inverted on NULL": Bug(
        column("vrai", lambda values: pc.fill_null(values, False)), "vrai", 50, "value for null"
    ),
    "exceptions off by one row": Bug(exceptions_one_row_late, "fin", 10, "infinity"),
    "exceptions lost": Bug(lambda block: Block(block.batch), "fin", 5, "exception lost"),
    "columns swapped": Bug(swapped_names, "nom", 150, "swapped columns, code"),
}  # fmt: skip


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_decoder_bug_is_caught_at_its_place_and_classified(
    name: str, server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug, real = BUGS[name], postgres_csv.blocks

    def faulty(chunks: Iterable[Any], columns: Sequence[Any]) -> Iterator[Block]:
        yield from map(bug.damage, real(chunks, columns))

    monkeypatch.setattr(postgres_csv, "blocks", faulty)
    # Caught it is under any challenge; in which buckets changed rows meet, and which cell is so guessed first, varies.
    monkeypatch.setattr(postgres_witness, "secrets", SimpleNamespace(token_hex=lambda size: "5a" * size))
    findings = exported(server, tmp_path / "bundle")

    wrong = {finding.metric: finding for finding in findings if finding.value}
    assert set(wrong) == {"data.cells_different", "data.mismatch_rate_ub95"}
    found = wrong["data.cells_different"]
    assert isinstance(found.value, int)
    assert found.value >= bug.count
    said = [one for one in found.places if one.startswith(f"{TABLE}.{bug.column}")]
    assert any(word in one for one in said for word in bug.said.split("|")), found.places


def test_a_row_read_twice_in_place_of_the_next_is_named_on_both_sides(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = postgres_csv.blocks
    monkeypatch.setattr(postgres_csv, "blocks", lambda *given: map(last_row_is_the_one_before, real(*given)))

    wrong = {one.metric: (one.value, one.places) for one in exported(server, tmp_path / "bundle") if one.value}

    assert wrong == {
        "data.rows_missing": (1, (f"{TABLE} [id=200]: this row is missing",)),
        "data.rows_extra": (1, (f"{TABLE} [id=199]: this row is doubled",)),
        "data.mismatch_rate_ub95": (1 / 200, ()),
    }


@pytest.mark.parametrize("damage", [last_row_lost, last_row_twice])
def test_a_decoder_that_loses_or_doubles_rows_is_refused_by_the_exporter_itself(
    damage: Callable[[Block], Block], server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = postgres_csv.blocks
    monkeypatch.setattr(postgres_csv, "blocks", lambda *given: map(damage, real(*given)))

    with pytest.raises(SourceError, match="200 rows were sent"):
        exported(server, tmp_path / "bundle")


def test_without_a_bug_nothing_is_said(server: PostgresServer, tmp_path: Path) -> None:
    assert [finding.value for finding in exported(server, tmp_path / "bundle")] == [0, 0, 0, 0]
