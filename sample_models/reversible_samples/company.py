"""What does the demo's customer keep at the vendor?

"Le Comptoir des Alpes", a small shop: a PostgreSQL database of 14 related tables and 215,000 rows, and a bucket of
500 documents. All of it is drawn from one seed, so that two demos move the same data.
"""

import base64
import json
import random
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from uuid import UUID

SEED = 20261124
CUSTOMERS, ADDRESSES, PRODUCTS, ORDERS, REVIEWS, READINGS = 12_000, 14_000, 1_800, 38_000, 6_000, 10_000
DOCUMENTS = 500
READER = "exit_reader"

_FIRST = [
    "Zoé",
    "Léa",
    "Inès",
    "Maël",
    "Noé",
    "Éloïse",
    "Chloé",
    "François",
    "Aïcha",
    "Jérôme",
    "Gaëlle",
    "Benoît",
    "Ségolène",
    "Anaïs",
    "Loïc",
    "Hélène",
]
_LAST = [
    "Lefèvre",
    "Müller",
    "Gonçalves",
    "Noël",
    "Crêpin",
    "Åberg",
    "O'Brien",
    "d'Ormesson",
    "Łukasz",
    "Nguyễn",
    "Béranger",
    "Saint-Exupéry",
]
_TOWNS = [("Annecy", "74000"), ("Chambéry", "73000"), ("Sète", "34200"), ("Saint-Étienne", "42000"), ("Évian", "74500")]
_START = datetime(2024, 1, 1, 6, tzinfo=UTC)


def load_database(admin_url: str, reader_password: str) -> int:
    """Create the shop as the owner and a role that may only read it; return the number of rows loaded."""
    import psycopg
    from psycopg import sql

    draw = random.Random(SEED)  # noqa: S311 - sample data, no secret
    with psycopg.connect(admin_url) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(resources.files(__package__).joinpath("company.sql").read_text(encoding="utf-8"))
        rows = 7  # boutique.cas_difficiles, written in the SQL file
        cursor.execute("SET session_replication_role = replica")  # the rows below fit: no key is looked up for each
        for table, columns, values in _tables(draw):
            target = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier("boutique", table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with cursor.copy(target) as copy:
                for row in values:
                    copy.write_row(row)
                    rows += 1
        cursor.execute("RESET session_replication_role")
        cursor.execute("SELECT setval('boutique.numero_facture', 142857)")
        cursor.execute("SELECT setval(pg_get_serial_sequence('boutique.client', 'id'), %s)", (CUSTOMERS,))
        cursor.execute("REFRESH MATERIALIZED VIEW boutique.meilleures_ventes")
        role = sql.Identifier(READER)
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(reader_password)))
        cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA boutique TO {}").format(role))
        cursor.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA boutique TO {}").format(role))
        cursor.execute(sql.SQL("GRANT SELECT ON ALL SEQUENCES IN SCHEMA boutique TO {}").format(role))
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return rows


def fill_bucket(s3: Any, bucket: str) -> int:
    """Put the documents into a new, versioned bucket; return the number of object versions written."""
    draw = random.Random(SEED + 1)  # noqa: S311 - sample data, no secret
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "service", "Value": "boutique"}]})
    versions = 0
    for number, key in enumerate(_document_keys()):
        for edition in range(3 if number % 10 == 0 else 1):
            body = _document(draw, key, number, edition)
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentType=_content_type(key),
                CacheControl="private, max-age=3600" if number % 7 == 0 else "no-cache",
                Metadata={
                    "client": str(number * 17 % CUSTOMERS),
                    "edition": str(edition),
                    "auteur": "=?UTF-8?Q?Zo=C3=A9?=",
                },
                Tagging=f"confidentialite={'haute' if number % 5 == 0 else 'basse'}&annee={2024 + number % 3}",
            )
            versions += 1
    s3.delete_object(Bucket=bucket, Key="factures/2024/F-000010.json")  # a delete marker over three versions
    return versions + 1


def _tables(draw: random.Random) -> Iterator[tuple[str, tuple[str, ...], Iterator[tuple[Any, ...]]]]:
    yield "fournisseur", ("id", "nom", "siret", "taux_remise", "actif"), (
        (n, f"{draw.choice(_LAST)} & Fils n° {n}", f"{n:014d}", f"{draw.random() / 4:.4f}", n % 9 != 0)
        for n in range(1, 121)
    )  # fmt: skip
    yield "categorie", ("id", "parent", "libelle"), (
        (n, None if n <= 8 else 1 + n % 8, f"Catégorie {n} – été") for n in range(1, 41)
    )  # fmt: skip
    yield "produit", (
        "id", "fournisseur", "categorie", "reference", "designation", "prix_ht", "tva", "poids_kg",
        "mots_cles", "fiche", "vignette",
    ), (_product(draw, n) for n in range(1, PRODUCTS + 1))  # fmt: skip
    yield (
        "client",
        ("id", "courriel", "prenom", "nom", "note", "naissance", "inscrit_le", "parrain"),
        (_customer(draw, n) for n in range(1, CUSTOMERS + 1)),
    )
    yield (
        "adresse",
        ("id", "client", "voie", "code_postal", "ville", "latitude", "longitude"),
        (_address(draw, n) for n in range(1, ADDRESSES + 1)),
    )
    yield "commande", (
        "id", "client", "livraison", "statut", "passee_le", "livrable_des", "livrable_avant", "suivi", "ip",
    ), (_order(draw, n) for n in range(1, ORDERS + 1))  # fmt: skip
    yield (
        "ligne",
        ("commande", "rang", "produit", "quantite", "prix_unitaire", "remise"),
        (line for n in range(1, ORDERS + 1) for line in _lines(draw, n)),
    )
    yield (
        "paiement",
        ("id", "commande", "recu_le", "montant", "frais", "moyen"),
        (_payment(draw, n) for n in range(1, ORDERS + 1)),
    )
    yield "avis", ("id", "produit", "client", "etoiles", "texte", "ecrit_le"), (
        (
            n, draw.randint(1, PRODUCTS), draw.randint(1, CUSTOMERS), draw.randint(1, 5),
            draw.choice(["Très bien 👍", "déçue…", "Conforme à l'image", "« parfait »", "bof\nà revoir"]) + f" ({n})",
            _START + timedelta(seconds=draw.randrange(90_000_000)),
        )
        for n in range(1, REVIEWS + 1)
    )  # fmt: skip
    yield "temperature_entrepot", ("releve_le", "sonde", "celsius", "derive"), (
        (
            _START + timedelta(minutes=15 * (n // 4)), n % 4,
            float("nan") if n % 500 == 0 else round(draw.gauss(12, 6), 2), draw.gauss(0, 1e-9),
        )
        for n in range(READINGS)
    )  # fmt: skip


def _product(draw: random.Random, n: int) -> tuple[Any, ...]:
    words = draw.sample(
        ["randonnée", "été", "cuir", "laine", "enfant", "réparable", "made in France"], draw.randint(0, 3)
    )
    sheet = {"coloris": draw.choice(["écru", "noir", "bleu nuit"]), "garantie_mois": draw.choice([12, 24]), "id": n}
    return (
        n, draw.randint(1, 120), draw.randint(1, 40), f"REF-{n:05d}", f"Article n° {n} « {draw.choice(_LAST)} »",
        f"{draw.randint(100, 90_000) / 100:.2f}", draw.choice(["0.200", "0.055", "0.100"]),
        None if n % 11 == 0 else float("nan") if n % 97 == 0 else draw.uniform(0.01, 30),
        None if n % 13 == 0 else words, json.dumps(sheet, ensure_ascii=False),
        draw.randbytes(48) if n % 3 else None,
    )  # fmt: skip


def _customer(draw: random.Random, n: int) -> tuple[Any, ...]:
    first, last = draw.choice(_FIRST), draw.choice(_LAST)
    if n % 6 == 0:
        last = unicodedata.normalize("NFD", last)
    return (
        n, f"client{n}@exemple.fr", None if n % 40 == 0 else first, last, (None, "", "à rappeler")[n % 3],
        None if n % 10 == 0 else (datetime(1940, 1, 1, tzinfo=UTC) + timedelta(days=draw.randrange(24_000))).date(),
        _START + timedelta(microseconds=draw.randrange(60_000_000_000_000)),
        draw.randrange(1, n) if n % 5 == 0 else None,
    )  # fmt: skip


def _address(draw: random.Random, n: int) -> tuple[Any, ...]:
    town, code = draw.choice(_TOWNS)
    street = f"{draw.randint(1, 180)} bis, rue de l'Été"
    return n, 1 + n % CUSTOMERS, street, code, town, draw.uniform(42, 51), draw.uniform(-4, 8)


def _order(draw: random.Random, n: int) -> tuple[Any, ...]:
    placed = _START + timedelta(seconds=n * 2_100 + draw.randrange(2_000))
    return (
        n, draw.randint(1, CUSTOMERS), draw.randint(1, ADDRESSES) if n % 4 else None,
        draw.choice(["panier", "payée", "expédiée", "livrée", "livrée", "annulée"]), placed,
        placed.date() if n % 3 else "-infinity", (placed + timedelta(days=30)).date() if n % 2 else "infinity",
        UUID(int=draw.getrandbits(128), version=4) if n % 2 else None,
        f"192.0.2.{n % 250}" if n % 5 else "2001:db8::1",
    )  # fmt: skip


def _lines(draw: random.Random, n: int) -> Iterator[tuple[Any, ...]]:
    for rank in range(1, 2 + n % 4):
        price = f"{draw.randint(100, 90_000) / 100:.2f}"
        yield (
            n,
            rank,
            draw.randint(1, PRODUCTS),
            draw.randint(1, 9),
            price,
            None if n % 3 else f"{draw.random() / 3:.4f}",
        )


def _payment(draw: random.Random, n: int) -> tuple[Any, ...]:
    received = (_START + timedelta(seconds=n * 2_100 + 1_800)).replace(tzinfo=None)
    amount = f"{draw.randint(100, 9_000_000) / 10_000:.4f}"
    return n, n, received, amount, draw.uniform(0, 3), draw.choice(["carte", "virement", "chèque", "PayFacile™"])


def _document_keys() -> Iterator[str]:
    odd = [
        "archives/été 2025/relevé n° 1.txt",
        unicodedata.normalize("NFD", "archives/été 2025/relevé n° 2.txt"),
        "archives/vide.dat", "archives/🙂/photo.svg", "archives/a+b&c=d%20e.csv", "contrats/« signé ».txt",
    ]  # fmt: skip
    yield from odd
    kinds = ("factures/{year}/F-{n:06d}.json", "catalogue/{year}/C-{n:06d}.csv", "courrier/{year}/L-{n:06d}.html")
    for n in range(DOCUMENTS - len(odd)):
        yield kinds[n % 3].format(year=2024 + n % 3, n=n + len(odd))


def _document(draw: random.Random, key: str, number: int, edition: int) -> bytes:
    if key.endswith("vide.dat"):
        return b""
    if key.endswith(".json"):
        lines = [
            {"ref": f"REF-{draw.randint(1, PRODUCTS):05d}", "prix": draw.randint(100, 9_999) / 100} for _ in range(8)
        ]
        return json.dumps({"facture": number, "édition": edition, "lignes": lines}, ensure_ascii=False).encode()
    if key.endswith(".csv"):
        return "".join(f"{n};{draw.random()!r};été\r\n" for n in range(draw.randint(5, 80))).encode("cp1252")
    return f"<p>Lettre {number}, édition {edition} : {base64.b64encode(draw.randbytes(900)).decode()}</p>\n".encode()


def _content_type(key: str) -> str:
    endings = {
        "json": "application/json",
        "csv": "text/csv; charset=windows-1252",
        "html": "text/html",
        "svg": "image/svg+xml",
    }
    return endings.get(key.rpartition(".")[2], "text/plain; charset=utf-8")
