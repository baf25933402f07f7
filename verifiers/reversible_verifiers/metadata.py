"""Did everything of the database that is not rows come along?"""

from collections import Counter
from collections.abc import Iterator

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_verifiers import sql_statements

_PLACES = 20
_SEQUENCE_VALUE = "sequence value"


class Metadata:
    """Looks in schema.sql for every object that the witness counted in the catalogs, by class and name."""

    metrics = frozenset({"data.metadata_classes_missing"})
    kinds = frozenset({Kind.DATABASE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """One finding: how many classes lack at least one object.

        Raises:
            BundleError: schema.sql, database.json or the witness cannot be read.
        """
        facts = bundle.witness(asset).facts
        try:
            expected = {kind: Counter(tuple(name) for name in names) for kind, names in facts["classes"].items()}
            values: dict[str, int | None] = dict(facts["sequence_values"])
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{asset.id}: the witness names no classes") from error
        path = bundle.folder(asset) / "schema.sql"
        try:
            found = sql_statements.created(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
            raise BundleError(f"{asset.id}: schema.sql cannot be read: {error}") from error
        lacking = sql_statements.missing(expected, found)
        kept = {one["name"]: one["last_value"] for one in bundle.document(asset, "database.json")["sequence_values"]}
        places = [f"{kind} {'.'.join(name)}" for kind, names in lacking.items() for name in names]
        lost = [name for name, value in values.items() if name not in kept or kept[name] != value]
        places += [f"{_SEQUENCE_VALUE} of {name}" for name in lost]
        total = sum(map(Counter.total, expected.values())) + len(values)
        yield Finding(
            "data.metadata_classes_missing", asset.id, len(lacking) + bool(lost), unit="count",
            seen="{found} of {expected} objects in {classes} classes are in the dump of the schema",
            facts={
                "found": total - len(places), "expected": total,
                "classes": sum(bool(names) for names in expected.values()) + bool(values),
            },
            places=tuple(places[:_PLACES]), files=(bundle.relative(path),),
        )  # fmt: skip
