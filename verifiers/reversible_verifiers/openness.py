"""Does every file open without the vendor?"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible_verifiers import table_files
from reversible_verifiers.file_formats import Reading, read_twice

_PLACES = 20
_ORIGINAL = "original"  # of a model: the vendor's own files, kept as they were
# User metadata that the S3 encryption clients leave on an object that they encrypted before sending.
_CLIENT_SIDE = frozenset({"x-amz-key", "x-amz-key-v2", "x-amz-iv", "x-amz-3", "x-amz-i"})


class Openness:
    """Opens every file of an asset's folder with two programs that share no code, and compares what they read.

    A collection's objects are their owner's files in any format: of them only the index is opened, and what it says
    about encryption is read.
    """

    metrics = frozenset(
        {
            "format.open_pct",
            "format.two_readers_ok_pct",
            "format.needs_vendor_reader",
            "crypto.vendor_key_only_objects",
        }
    )
    kinds = frozenset(Kind)

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        """Four findings.

        Raises:
            BundleError: the asset has no file, or the index of a collection cannot be read.
        """
        readings = {path: read_twice(path) for path in _files(asset, bundle)}
        if not readings:
            raise BundleError(f"{asset.id}: there is no file in {asset.folder}")
        yield from _formats(asset, bundle, readings)
        locked = [_place(asset, path, bundle) for path, one in readings.items() if one.locked]
        looked_at = len(readings)
        if asset.kind is Kind.OBJECTS:
            keys = list(_metadata(asset, bundle))
            looked_at += len(keys)
            locked += [f"{asset.name}/{key}" for key, names in keys if _CLIENT_SIDE & names]
        yield Finding(
            "crypto.vendor_key_only_objects", asset.id, len(locked), unit="count", places=tuple(locked[:_PLACES]),
            seen="{files} files and object versions looked at; {n} are encrypted under a key that is not in the bundle",
            facts={"files": looked_at, "n": len(locked)},
        )  # fmt: skip


def _formats(asset: Asset, bundle: Bundle, readings: Mapping[Path, Reading]) -> Iterator[Finding]:
    sizes = {path: path.stat().st_size for path in readings}
    total = sum(sizes.values())
    closed = [path for path, one in readings.items() if not one.format]
    wrong = [path for path, one in readings.items() if one.fault]
    places = tuple(f"{_place(asset, path, bundle)}: {readings[path].fault}" for path in wrong[:_PLACES])
    shut = sum(sizes[path] for path in closed)
    by_bytes = 100.0 * (total - shut) / total if total else 100.0 * (len(readings) - len(closed)) / len(readings)
    seen = "{open} of {total} bytes are in open formats: {formats}"
    if asset.kind is Kind.MODEL:
        seen = "{open} of {total} bytes are in open formats: {formats}; original/ is left aside"
    formats = ", ".join(sorted({one.format for one in readings.values() if one.format})) or "-"
    yield Finding(
        "format.open_pct", asset.id, min(by_bytes, 99.9) if closed else 100.0, unit="percent_of_bytes", seen=seen,
        facts={"open": total - shut, "total": total, "formats": formats}, places=places,
    )  # fmt: skip
    good = len(readings) - len(wrong)
    yield Finding(
        "format.two_readers_ok_pct", asset.id, 100.0 * good / len(readings), unit="percent_of_files", places=places,
        seen="{ok} of {files} files opened by two independent programs with the same content",
        facts={"ok": good, "files": len(readings)},
    )  # fmt: skip
    yield Finding(
        "format.needs_vendor_reader", asset.id, len(closed), unit="count",
        seen="{n} of {files} files open with no open reader", facts={"n": len(closed), "files": len(readings)},
        places=tuple(_place(asset, path, bundle) for path in closed[:_PLACES]),
    )  # fmt: skip


def _files(asset: Asset, bundle: Bundle) -> list[Path]:
    folder = bundle.folder(asset)
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if asset.kind is Kind.MODEL:
        found = [path for path in found if path.relative_to(folder).parts[0] != _ORIGINAL]
    return found


def _place(asset: Asset, path: Path, bundle: Bundle) -> str:
    return f"{asset.name} {path.relative_to(bundle.folder(asset)).as_posix()}"


def _metadata(asset: Asset, bundle: Bundle) -> Iterator[tuple[str, frozenset[str]]]:
    """Each object version's key, and the names of its user metadata in lower case, without "x-amz-meta-"."""
    path = bundle.folder(asset) / "index.parquet"
    with table_files.reading(path):
        table = pq.read_table(path, columns=["key", "metadata"])
    for key, metadata in zip(table["key"].to_pylist(), table["metadata"].to_pylist(), strict=True):
        try:
            names = _names(metadata)
        except (ValueError, TypeError, AttributeError) as error:
            raise BundleError(f"{asset.id}: the metadata of {key!r} in index.parquet cannot be read") from error
        yield str(key), frozenset(name.lower().removeprefix("x-amz-meta-") for name in names)


def _names(metadata: Any) -> list[str]:
    """Metadata as JSON text, a list of pairs, or a struct."""
    if metadata is None or metadata == "":
        return []
    document = json.loads(metadata) if isinstance(metadata, str) else metadata
    return list(document) if isinstance(document, dict) else [str(name) for name, *_ in document]
