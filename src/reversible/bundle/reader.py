"""What does the bundle hold, and is it what it says?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reversible.assets import Asset, Kind
from reversible.bundle import bag
from reversible.errors import BundleError

if TYPE_CHECKING:
    from reversible.interfaces import Witness

FORMAT = "reversible-bundle/1"
_JSON_LIMIT = 1 << 26  # bytes; larger descriptions are an attack, not ours


@dataclass(frozen=True)
class Entry:
    """One asset of the bundle: exported, or refused by the source with `error`."""

    asset: Asset
    exporter: str
    closed_at: str
    error: str


class Bundle:
    """A finished bundle in a directory. `open` reads its description; `check` reads every byte."""

    def __init__(self, root: Path, document: dict[str, Any]) -> None:
        self.root = root
        self.about = document
        self.entries = tuple(
            Entry(Asset.from_json(item["asset"]), item["exporter"], item["closed_at"], item["error"])
            for item in document["assets"]
        )
        self.endpoints = _endpoints(document)  # the vendor's, "host:port": none may be reachable in a re-run

    @classmethod
    def open(cls, root: Path) -> Self:
        """Read the description.

        Raises:
            BundleError: there is no bundle, or it is not of this format.
        """
        path = root / "data/bundle.json"
        if not root.is_dir():
            raise BundleError(f"{root}: no such bundle", hint="reversible dry-run PLAN --into DIR writes one")
        if not path.is_file():
            partial = " (the export did not finish)" if root.name.endswith(".partial") else ""
            raise BundleError(f"{root} is not a bundle: data/bundle.json is missing{partial}")
        document = _load_json(path, root)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise BundleError(f"{root}: its format is not {FORMAT}", hint="use the version that wrote it")
        try:
            return cls(root, document)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{root}: data/bundle.json does not have the shape of {FORMAT}: {error}") from error

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The exported assets, in a stable order."""
        return tuple(entry.asset for entry in self.entries if not entry.error)

    @property
    def digest(self) -> str:
        """SHA-256 of the tag manifest, hex: it fixes every file of the bag."""
        return bag.sha256_file(self.root / bag.TAG_MANIFEST)

    @cached_property
    def manifest(self) -> dict[str, str]:
        """The digest of every file below data/, as the bag says it.

        Raises:
            BundleError: the manifest cannot be read.
        """
        try:
            return bag.read_manifest(self.root / bag.MANIFEST)
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.root}: {bag.MANIFEST} cannot be read: {error}") from error

    def check(self) -> None:
        """Hash everything.

        Raises:
            BundleError: a file is altered, missing, extra, a link, or escapes; every fault is named.
        """
        wrong = list(self.faults())
        if wrong:
            more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
            raise BundleError(
                f"{self.root}: {'; '.join(wrong[:5])}{more}", hint="fetch the bundle again from its origin"
            )

    def faults(self) -> Iterator[str]:
        """What is wrong, one sentence per fault."""
        try:
            contents = self._object_digests()
        except (OSError, ValueError, KeyError) as error:
            yield f"an object index cannot be read: {error}"
            contents = {}
        yield from bag.faults(self.root, outside=contents)

    # --- what verifiers read ------------------------------------------------------------------------------------

    def folder(self, asset: Asset) -> Path:
        return self.root / asset.folder

    def relative(self, path: Path) -> str:
        """A path as evidence quotes it."""
        return path.relative_to(self.root).as_posix()

    def parts(self, asset: Asset, pattern: str = "part-*.parquet") -> list[Path]:
        """The asset's files that match, in order."""
        return sorted(self.folder(asset).glob(pattern))

    def document(self, asset: Asset, name: str) -> Any:
        """A JSON file of the asset.

        Raises:
            BundleError: it is missing or is not JSON.
        """
        return _load_json(self.folder(asset) / name, self.root)

    def object_path(self, asset: Asset, sha256: str) -> Path:
        return self.root / "objects" / asset.slug / sha256

    def witness(self, asset: Asset) -> "Witness":
        """What the source said by another route.

        Raises:
            BundleError: there is no witness.
        """
        import pyarrow.parquet as pq

        from reversible.interfaces import Witness

        folder = self.root / "data/witness" / asset.slug
        document = _load_json(folder / "witness.json", self.root)
        tables = {name: pq.read_table(folder / f"{name}.parquet") for name in document["tables"]}
        return Witness(method=document["method"], facts=document["facts"], tables=tables)

    def _object_digests(self) -> dict[str, str]:
        import pyarrow.parquet as pq

        digests: dict[str, str] = {}
        for asset in self.assets:
            if asset.kind is Kind.OBJECTS:
                column = pq.read_table(self.folder(asset) / "index.parquet", columns=["sha256"])["sha256"]
                digests |= {f"objects/{asset.slug}/{one}": one for one in set(column.to_pylist()) if one is not None}
        return digests


def _endpoints(document: dict[str, Any]) -> tuple[str, ...]:
    points = [point for source in document.get("sources", []) for point in source["endpoints"]]
    if not all(isinstance(point, str) and ":" in point for point in points):
        raise ValueError("the endpoints of a source are texts, host:port")
    return tuple(points)


def _load_json(path: Path, root: Path) -> Any:
    try:
        if path.is_symlink() or path.stat().st_size > _JSON_LIMIT:
            raise BundleError(f"{root}: {path.relative_to(root)} is a link or too large")
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BundleError(f"{root}: {path.relative_to(root)} is missing") from error
    except (ValueError, OSError) as error:
        raise BundleError(f"{root}: {path.relative_to(root)} cannot be read: {error}") from error
