"""Did everything of the database that is not rows come along?"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_verifiers import mysql_script, next_values, sql_statements, sqlite_script

_PLACES = 20
_SEQUENCE_VALUE = "sequence value"
_LOCALE = "database locale"


class Metadata:
    """Looks in schema.sql for every object that the witness counted in the catalogs, by class and name.

    Each must also be defined there in the words in which the server defined it to the witness: a view's query, a
    function's body, a constraint, a default, a column's type. The privileges that a GRANT names are not compared.
    """

    metrics = frozenset({"data.metadata_classes_missing"})
    kinds = frozenset({Kind.DATABASE})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """One finding: how many classes lack at least one object.

        Raises:
            BundleError: schema.sql, database.json or the witness cannot be read.
        """
        facts = bundle.witness(asset).facts
        source_type = bundle.document(asset, "database.json").get("source_type")
        if source_type == "sqlite":
            yield _of_sqlite(asset, bundle, facts)
            return
        try:
            expected = {kind: Counter(tuple(name) for name in names) for kind, names in facts["classes"].items()}
            document = bundle.document(asset, "database.json")
            lost = list(next_values.astray(facts["next_values"], document["sequence_values"], source_type))
            kept, seen = document.get("locale", {}), facts.get("locale", {})
            moved = [
                f"{_LOCALE}: {rule} {kept.get(rule)}, at the source {one}"
                for rule, one in seen.items()
                if kept.get(rule) != one
            ]
            definitions = [(str(kind), tuple(name), str(text)) for kind, name, text in facts["definitions"]]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BundleError(f"{asset.id}: database.json or its witness cannot be read: {error!r}") from error
        path = bundle.folder(asset) / "schema.sql"
        try:
            script = path.read_text(encoding="utf-8")
            if source_type in ("mysql", "mariadb"):
                found = mysql_script.created(script)
                altered = list(mysql_script.altered(script, definitions))
                lost += _astray_in_mysql(facts, script, source_type)
            else:
                found = sql_statements.created(script)
                altered = list(_altered(definitions, sql_statements.scopes(script)))
        except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
            raise BundleError(f"{asset.id}: schema.sql cannot be read: {error}") from error
        lacking = sql_statements.missing(expected, found)
        places = [f"{kind} {'.'.join(name)}" for kind, names in lacking.items() for name in names]
        places += [f"{_SEQUENCE_VALUE} of {one}" for one in dict.fromkeys(lost)]
        gone = {(kind, name) for kind, names in lacking.items() for name in names}
        changed = list(dict.fromkeys((kind, name) for kind, name in altered if (kind, name) not in gone))
        places += [f"{kind} {'.'.join(name)}: not as the source defines it" for kind, name in changed]
        total = sum(map(Counter.total, expected.values())) + len(facts["next_values"])
        classes = len({*lacking, *(kind for kind, _ in changed)}) + bool(lost) + bool(moved)
        yield Finding(
            "data.metadata_classes_missing", asset.id, classes, unit="count",
            seen="{found} of {expected} objects in {classes} classes are in the dump of the schema",
            facts={
                "found": total - len(places), "expected": total,
                "classes": sum(bool(names) for names in expected.values()) + bool(facts["next_values"]),
            },
            places=tuple([*moved, *places][:_PLACES]), files=(bundle.relative(path),), coverage=_seen_share(facts),
        )  # fmt: skip


def _astray_in_mysql(facts: Mapping[str, Any], script: str, source_type: str) -> Iterator[str]:
    """The same of schema.sql, which a restore runs: there a table's AUTO_INCREMENT that is 1 is not said."""
    said = mysql_script.next_values(script)
    tables = {name for (name,) in facts["classes"].get("table", ())}
    kept = [
        {"name": name, "last_value": said.get(name, 1 if name in tables else None), "increment": one["increment"]}
        for name, one in facts["next_values"].items()
    ]
    return next_values.astray(facts["next_values"], kept, source_type)


def _seen_share(facts: Mapping[str, Any]) -> float:
    """The share of the classes that the source shows whole: what a right hides looks like what is not there."""
    share = facts.get("seen_share", 1.0)
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise BundleError("the witness does not say which share of the classes it saw")
    return float(share)


def _of_sqlite(asset: Asset, bundle: Bundle, facts: Mapping[str, Any]) -> Finding:
    path = bundle.folder(asset) / "schema.sql"
    try:
        script = path.read_bytes().decode()
        altered = list(sqlite_script.altered(script, facts, bundle.document(asset, "database.json")))
        expected, classes = sqlite_script.expected(facts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{asset.id}: schema.sql, database.json or the witness cannot be read: {error!r}") from error
    return Finding(
        "data.metadata_classes_missing", asset.id, len({kind for kind, _ in altered}), unit="count",
        seen="{found} of {expected} objects in {classes} classes are in the dump of the schema",
        facts={"found": expected - len(altered), "expected": expected, "classes": classes},
        places=tuple(what for _, what in altered[:_PLACES]), files=(bundle.relative(path),),
    )  # fmt: skip


def _altered(
    definitions: Sequence[tuple[str, sql_statements.Name, str]],
    scopes: Mapping[tuple[str, sql_statements.Name], Sequence[Sequence[sql_statements.Word]]],
) -> Iterator[tuple[str, sql_statements.Name]]:
    """The objects that the script defines in other words than the server."""
    for kind, name, text in definitions:
        body = kind == "function body"
        where = scopes.get(("function" if body else kind, name), ())
        if body:
            held = any(text in word.text for scope in where for word in scope if word.kind == "literal")
        else:
            fragment = sql_statements.words_of(text)
            held = any(sql_statements.holds(scope, fragment) for scope in where)
        if not held:
            yield ("function" if body else kind), name
