"""Which objects of a bucket are tables too, by the plan's own words, and how do they leave as Parquet?

    [[source.files.tabular]]
    pattern = "exports/*.csv"
    columns = { id = "int64", amount = "decimal(12,2)" }

The object itself leaves byte for byte with its bucket; this is besides. The witness fetches the same version again and
reads it with another reader.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from reversible.assets import Asset, Kind
from reversible.errors import SourceError, UsageError
from reversible.interfaces import Witness
from reversible_exporters import s3_client, tabular
from reversible_exporters.s3_client import Version
from reversible_exporters.tabular_schema import Declared

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter


class Tabular(Declared):
    """[[source.NAME.tabular]]: the latest version of each object whose key matches also leaves as a Parquet table."""

    pattern: str = Field(min_length=1, description="on keys, * and ? as in a shell, * over slashes too")


def assets(source: str, bucket: str, versions: Iterable[Version], wanted: Sequence[Tabular]) -> Iterator[Asset]:
    """A table per matching object; of several patterns the first counts. A pattern that nothing matches is named."""
    unused = {one.pattern for one in wanted}
    for version in versions:
        declared = _first(wanted, version.key)
        if declared is None or not version.is_latest or version.delete_marker:
            continue
        unused.discard(declared.pattern)
        obstacle = None
        try:
            declared.format_of(version.key)
        except UsageError as error:
            obstacle = f"{error.message} (try: {error.hint})"
        yield Asset(
            source=source, kind=Kind.TABLE, name=f"{bucket}/{version.key}", size_bytes=version.size, obstacle=obstacle
        )
    for pattern in sorted(unused):
        yield Asset(
            source=source, kind=Kind.TABLE, name=f"{bucket}/{pattern}",
            obstacle="no object's key matches this pattern of the plan",
        )  # fmt: skip


def _first(wanted: Sequence[Tabular], key: str) -> Tabular | None:
    return next((one for one in wanted if fnmatchcase(key, one.pattern)), None)


class Conversion:
    """One object on its way to a table: the version that was read is the version that is witnessed."""

    def __init__(self, bucket: str, asset: Asset, versions: Iterable[Version], wanted: Sequence[Tabular]) -> None:
        """Find the object.

        Raises:
            SourceError: it is no longer there, or no pattern matches it.
        """
        self.key = asset.name.removeprefix(f"{bucket}/")
        self._bucket = bucket
        found = [one for one in versions if one.key == self.key and one.is_latest and not one.delete_marker]
        declared = _first(wanted, self.key)
        if not found or declared is None:
            raise SourceError(f"object {asset.name} is no longer in the bucket", hint="reversible inventory")
        self._version, self._declared = found[0], declared

    def export(self, client: Any, asset: Asset, into: "BundleWriter") -> None:
        """Write table parts, table.json and conversion.json."""
        into.discard(asset)
        with self._fetched(client) as path:
            tabular.convert(path, self._declared, asset, into, name=self.key)

    def witness(self, client: Any) -> Witness:
        """Fetch it again, read it with the other reader."""
        with self._fetched(client) as path:
            return tabular.witness(path, self._declared, name=self.key)

    @contextmanager
    def _fetched(self, client: Any) -> Iterator[Path]:
        where = s3_client.address(self._version)
        with tempfile.TemporaryDirectory(prefix="reversible-") as folder:
            path = Path(folder) / "object"
            answer = client.get_object(Bucket=self._bucket, **where, ChecksumMode="ENABLED")
            with path.open("wb") as stream:
                for block in s3_client.body(client, self._bucket, where, answer):
                    stream.write(block)
            yield path
