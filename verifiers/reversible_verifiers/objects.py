"""Did every object arrive: each version, each byte, and all that was said about it?

The index in the bundle is compared with what the source said by another route (the witness), and the contents are
hashed again. A version is one thing: a delete marker is one too. What the source would not give twice is left out
of `coverage`, so it proves nothing.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reversible.assets import Asset, Kind
from reversible.bundle import bag
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding

_PLACES = 50
# Columns that must be equal, with their class of metadata.
_CLASSES = {
    "content_type": "content type", "cache_control": "cache control", "content_encoding": "content encoding",
    "content_disposition": "content disposition", "content_language": "content language", "expires": "expiry header",
}  # fmt: skip
_PLAIN = ("sequence", "is_latest", "delete_marker", "size")
_MAPPINGS = {"metadata": "user metadata", "tags": "tags"}

Row = Mapping[str, Any]
Id = tuple[str, str]


class Objects:
    """Compares an object collection with its witness."""

    metrics = frozenset(
        {
            "data.rows_missing",
            "data.rows_extra",
            "data.objects_hash_mismatch",
            "data.cells_different",
            "data.metadata_classes_missing",
        }
    )
    kinds = frozenset({Kind.OBJECTS})

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """Five findings per collection; nothing for other kinds.

        Raises:
            BundleError: the index, the settings or the witness is missing or unreadable.
        """
        if asset.kind is not Kind.OBJECTS:
            return
        both = _Both.read(asset, bundle)
        yield both.missing()
        yield both.extra()
        yield both.contents()
        yield both.cells()
        yield both.classes()


@dataclass(frozen=True, kw_only=True)
class _Both:
    """What the bundle holds beside what the source said; both by (key, version)."""

    asset: Asset
    bundle: Bundle
    held: Mapping[Id, Row]
    said: Mapping[Id, Row]
    twice: tuple[Id, ...]  # versions that the index names more than once
    settings: Mapping[str, Any]  # bucket.json
    facts: Mapping[str, Any]  # the witness's

    @classmethod
    def read(cls, asset: Asset, bundle: Bundle) -> "_Both":
        witness = bundle.witness(asset)
        said = {_id(row): row for row in _rows(witness.tables.get("objects"), asset, "the witness")}
        if len(said) != witness.facts["versions"]:
            raise BundleError(
                f"{asset.id}: the witness counts {witness.facts['versions']} versions and names {len(said)}"
            )
        index = _rows(_index(bundle.folder(asset) / "index.parquet", asset), asset, "the index")
        count = Counter(_id(row) for row in index)
        return cls(
            asset=asset, bundle=bundle, said=said, held={_id(row): row for row in index},
            twice=tuple(one for one, times in count.items() if times > 1),
            settings=bundle.document(asset, "bucket.json"), facts=witness.facts,
        )  # fmt: skip

    # --- one question each ---------------------------------------------------------------------------------------

    def missing(self) -> Finding:
        places = []
        for one in self.said:
            row = self.held.get(one)
            if row is None:
                places.append(self._place(one))
            elif not row["delete_marker"] and row["sha256"] is None:
                places.append(f"{self._place(one)}: {row['error'] or 'without content'}")
        return self._finding(
            "data.rows_missing", places, "{missing} of {expected} object versions that the source named are missing",
            missing=len(places), expected=len(self.said),
        )  # fmt: skip

    def extra(self) -> Finding:
        places = [self._place(one) for one in self.held if one not in self.said]
        places += [f"{self._place(one)}: listed twice" for one in self.twice]
        return self._finding(
            "data.rows_extra", places, "{extra} of {held} object versions in the bundle are not the source's",
            extra=len(places), held=len(self.held) + len(self.twice),
        )  # fmt: skip

    def contents(self) -> Finding:
        """Each content: hashed again, against the index and against what the source gave when it was read twice."""
        digests: dict[str, tuple[str, int]] = {}
        places, checked, scope = [], 0, 0
        for one, said in self.said.items():
            if said["delete_marker"]:
                continue
            scope += 1
            held = self.held.get(one)
            if held is None or held["sha256"] is None:
                continue  # counted as missing
            path = self.bundle.object_path(self.asset, held["sha256"])
            if bag.is_safe(held["sha256"]) and path.is_file() and not path.is_symlink():
                if held["sha256"] not in digests:
                    digests[held["sha256"]] = bag.sha256_file(path), path.stat().st_size
                sha256, size = digests[held["sha256"]]
            else:
                checked += 1
                places.append(f"{self._place(one)}: its content is not in the bundle")
                continue
            wrong = sha256 != held["sha256"] or size != held["size"]
            if said["sha256"] is not None:
                wrong, checked = wrong or sha256 != said["sha256"], checked + 1
            elif said["md5"] is not None:
                wrong, checked = wrong or _md5(path) != said["md5"], checked + 1
            if wrong:
                places.append(self._place(one))
        stray = [one for one in self.held if one not in self.said and self._is_altered(one, digests)]
        places += [self._place(one) for one in stray]
        return self._finding(
            "data.objects_hash_mismatch", places,
            "{wrong} contents are not what the source gave when read a second time ({checked} of {scope} compared)",
            coverage=checked / scope if scope else 1.0, wrong=len(places), checked=checked, scope=scope,
        )  # fmt: skip

    def cells(self) -> Finding:
        """Each property of each version, and each setting of the bucket."""
        places: list[str] = []
        compared = 0
        for one, said in self.said.items():
            held = self.held.get(one)
            if held is None:
                continue
            if self._both_told(one):
                columns = [*_PLAIN, *_CLASSES]
                places += [f"{self._place(one)}: {_word(name)}" for name in columns if said[name] != held[name]]
                for name, word in _MAPPINGS.items():
                    places += [
                        f"{self._place(one)}: {word} {_shown(key)!r}" for key in _different(said[name], held[name])
                    ]
                compared += len(columns) + len(_MAPPINGS)
            if _second(said["last_modified"]) != _second(held["last_modified"]):
                places.append(f"{self._place(one)}: modification time")
            compared += 1
        for name, digest in self.facts["settings"].items():
            compared += 1
            if name in self.settings["settings"] and _digest(self.settings["settings"][name]) != digest:
                places.append(f"{self.asset.name}: {name}")
        return self._finding(
            "data.cells_different", places, "{different} of {compared} properties are not what the source said",
            coverage=self._comparable(), different=len(places), compared=compared,
        )  # fmt: skip

    def classes(self) -> Finding:
        """Classes of metadata that the source has, and the bundle lacks altogether for at least one object."""
        lacking: dict[str, list[str]] = {}
        expected: set[str] = set()

        def ask(name: str, place: str, *, said: bool, held: bool) -> None:
            if said:
                expected.add(name)
                if not held:
                    lacking.setdefault(name, []).append(place)

        for one, said in self.said.items():
            held, place = self.held.get(one), self._place(one)
            if said["delete_marker"]:
                ask("delete markers", place, said=True, held=held is not None and held["delete_marker"])
            elif not said["is_latest"]:
                ask("versions", place, said=True, held=held is not None)
            if held is None or not self._both_told(one):
                continue  # the version itself is counted as missing
            if held["error"] is not None:
                ask("tags", f"{place} ({held['error']})", said=True, held=False)
                continue
            for column, name in _MAPPINGS.items():
                ask(name, place, said=_mapping(said[column]) != {}, held=_mapping(held[column]) != {})
            for column, name in _CLASSES.items():
                ask(name, place, said=said[column] is not None, held=held[column] is not None)
        for name in self.facts["settings"]:
            ask(f"bucket {name}", self.asset.name, said=True, held=name in self.settings["settings"])
        for name, why in {**self.facts["settings_refused"], **self.settings["refused"]}.items():
            ask(f"bucket {name}", f"{self.asset.name}: {why}", said=True, held=False)
        places = [f"{place}: {name}" for name, found in sorted(lacking.items()) for place in found]
        finding = self._finding(
            "data.metadata_classes_missing", places,
            "{missing} of {expected} classes of metadata that the source has are missing for at least one object",
            coverage=self._comparable(), missing=len(lacking), expected=len(expected),
        )  # fmt: skip
        return Finding(**{**vars(finding), "value": len(lacking)})

    # --- helpers ------------------------------------------------------------------------------------------------

    def _finding(self, metric: str, places: list[str], seen: str, *, coverage: float = 1.0, **facts: int) -> Finding:
        shown = (*places[:_PLACES], f"… {len(places) - _PLACES} more") if len(places) > _PLACES else tuple(places)
        folder = self.asset.folder
        files = (f"{folder}/index.parquet", f"{folder}/bucket.json", f"data/witness/{self.asset.slug}/objects.parquet")
        return Finding(
            metric, self.asset.id, len(places), unit="count", seen=seen, facts=facts, places=tuple(shown), files=files,
            coverage=coverage,
        )  # fmt: skip

    def _both_told(self, one: Id) -> bool:
        """Whether the version, its content included, was read by both."""
        held = self.held.get(one)
        return (
            held is not None
            and self.said[one]["error"] is None
            and (held["error"] is None or held["sha256"] is not None)
        )

    def _comparable(self) -> float:
        """The share of the source's versions about which both sides say everything."""
        told = [
            one
            for one, said in self.said.items()
            if self._both_told(one) and (said["delete_marker"] or said["tags"] is not None)
        ]
        return len(told) / len(self.said) if self.said else 1.0

    def _place(self, one: Id) -> str:
        """In the owner's own names; the version where the key has several."""
        key, version = one
        row = self.said.get(one) or self.held[one]
        which = "" if version == "null" or row["is_latest"] else f" (version {version})"
        return f"{self.settings['bucket']}/{_shown(key)}{which}"

    def _is_altered(self, one: Id, digests: dict[str, tuple[str, int]]) -> bool:
        row = self.held[one]
        if row["sha256"] is None:
            return False
        path = self.bundle.object_path(self.asset, row["sha256"])
        known = digests.get(row["sha256"])
        return known is None and (not path.is_file() or bag.sha256_file(path) != row["sha256"])


def _index(path: Path, asset: Asset) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BundleError(f"{asset.id}: its index cannot be read: {str(error).splitlines()[0]}") from error


def _rows(table: Any, asset: Asset, where: str) -> list[Row]:
    needed = {"key", "version_id", "sha256", "last_modified", "error", *_PLAIN, *_CLASSES, *_MAPPINGS}
    if table is None or (lacks := sorted(needed - set(table.column_names))):
        raise BundleError(f"{asset.id}: {where} lacks {', '.join(lacks) if table is not None else 'its table'}")
    rows: list[Row] = table.to_pylist()
    return rows


def _id(row: Row) -> Id:
    return row["key"], row["version_id"]


def _mapping(text: str | None) -> dict[str, str]:
    return {} if text is None else dict(json.loads(text))


def _different(said: str | None, held: str | None) -> list[str]:
    """The entries that differ, sorted."""
    left, right = _mapping(said), _mapping(held)
    return sorted(key for key in {*left, *right} if left.get(key) != right.get(key))


def _second(moment: Any) -> int:
    """Whole seconds: HEAD gives no more, and listings differ in what they add."""
    return int(moment.timestamp())


def _word(column: str) -> str:
    return _CLASSES.get(column) or {"is_latest": "whether it is the latest", "sequence": "version order"}.get(
        column, column.replace("_", " ")
    )


def _shown(key: str) -> str:
    """A key on one line: what cannot be printed is escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in key)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
