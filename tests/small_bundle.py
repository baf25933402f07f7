"""A bundle of objects, small enough to be shipped in every test."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter

AT = datetime(2026, 11, 24, tzinfo=UTC)


def write_bundle(root: Path, *, seed: str) -> Bundle:
    """24 contents, one empty and one larger than a read block, and their index."""
    asset = Asset(source="docs", kind=Kind.OBJECTS, name="bucket")
    with BundleWriter(root) as writer:
        contents = [b"", hashlib.sha256(seed.encode()).digest() * 40_000]
        contents += [f"{seed}{n}".encode() * (n + 1) * 40 for n in range(22)]
        digests = [writer.put_object(asset, iter([content]))[0] for content in contents]
        with writer.part(f"{asset.folder}/index.parquet") as stream:
            pq.write_table(pa.table({"sha256": digests}), stream)
        writer.close_asset(asset, exporter="test", at=AT)
        return writer.finish(about={}, at=AT)
