"""What does a bucket hold: every object, every version of it, and all that is said about them?

An asset is a bucket or a prefix of it. In its folder:

index.parquet   one row per object version or delete marker, sorted by key (UTF-8 bytes) and `sequence` (0: oldest).
                `metadata`, `tags` and `checksums` are JSON objects as text with sorted keys, null where the source
                has none to give; `sha256` is null for delete markers. Keys live here only, never as file names.
bucket.json     what is set on the bucket, what was refused and what this server does not have.

A version that the source lists and does not give (access denied, archived, a key of the customer's own) keeps its
row, with `error` and without `sha256`: the verifier counts it as missing, by name, and the others still leave. One
whose tags alone are denied has `error` and its content. A version that disappears while it is exported loses its
row and is named in bucket.json.

Contents are hashed as they stream. The writer's journal notes which version each came from, so a stopped export
asks for the listing and the metadata again, and for no content twice.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reversible.assets import Asset, Kind
from reversible.errors import SourceError
from reversible.interfaces import Reachability, Witness
from reversible.secrets import Secret
from reversible_exporters import s3_client, s3_settings, s3_tables, s3_witness
from reversible_exporters.s3_client import THREADS, Version
from reversible_exporters.s3_reading import Reading, schema, table

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

FORMAT = "reversible-objects/1"
_BATCH = 1_000  # rows in memory at once


class S3Exporter:
    """Reads one bucket, and only reads. The rights it needs: `check` names each."""

    class Settings(BaseModel):
        """The keys of [source.NAME]."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        bucket: str = Field(min_length=3, description="the bucket's name")
        prefix: str = Field("", description="only keys that start with this; everything when left out")
        region: str = Field(min_length=1, description="the bucket's region; never guessed")
        endpoint_url: str | None = Field(
            None, pattern=r"^https?://[^\s/@]+/?$", description="the S3 address; AWS when left out"
        )
        access_key: Secret | None = Field(None, description="boto3 finds its own credentials when left out")
        secret_key: Secret | None = None
        versions: bool = Field(True, description="false: only the latest version of each object leaves")
        tabular: tuple[s3_tables.Tabular, ...] = Field((), description="objects that are tables too, and their columns")

        @model_validator(mode="after")
        def _both_keys_or_none(self) -> "S3Exporter.Settings":
            if (self.access_key is None) != (self.secret_key is None):
                raise ValueError("access_key and secret_key together, or neither")
            return self

    def __init__(self, name: str, settings: Settings) -> None:
        self._name = name
        self._settings = settings
        self._connected: Any = None
        self._conversions: dict[str, s3_tables.Conversion] = {}  # asset id -> the version that its export read

    def __repr__(self) -> str:
        return f"S3Exporter({self._name!r}, bucket={self._settings.bucket!r})"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The "host:port" of every address under which the bucket answers."""
        if self._settings.endpoint_url is None:
            host = f"s3.{self._settings.region}.amazonaws.com"
            return (f"{host}:443", f"{self._settings.bucket}.{host}:443")
        address = urlsplit(self._settings.endpoint_url)
        return (f"{address.hostname}:{address.port or (443 if address.scheme == 'https' else 80)}",)

    # --- asking -------------------------------------------------------------------------------------------------

    def check(self) -> Iterator[Reachability]:
        """Try each right that an export needs, on one object."""
        bucket = self._settings.bucket
        yield from self._try("the bucket", "head_bucket", Bucket=bucket)
        listing = "list_object_versions" if self._settings.versions else "list_objects_v2"
        found: dict[str, Any] = {}
        yield from self._try("the listing", listing, into=found, Bucket=bucket, Prefix=self._settings.prefix, MaxKeys=1)
        one = next(iter([*found.get("Versions", ()), *found.get("Contents", ())]), None)
        if one is not None:
            where: dict[str, Any] = {"Bucket": bucket, "Key": one["Key"]}
            first_byte: dict[str, Any] = {"Range": "bytes=0-0"} if one["Size"] else {}
            yield from self._try("an object's content", "get_object", **where, **first_byte)
            yield from self._try("an object's tags", "get_object_tagging", **where)
        try:
            settings = s3_settings.read(self._client(), bucket)
        except SourceError as error:
            yield Reachability(subject=f"{bucket}: settings", ok=False, seen=error.message, hint=error.hint)
            return
        rights = sorted({why.rpartition(": ")[2] for why in settings.refused.values()})
        yield Reachability(
            subject=f"{bucket}: settings",
            ok=not rights,
            seen="; ".join(f"{name}: {why}" for name, why in settings.refused.items())
            or f"read: {', '.join(sorted(settings.found)) or 'none is set'}",
            hint=f"grant {', '.join(rights)}" if rights else "",
        )

    def _try(
        self, what: str, method: str, *, into: dict[str, Any] | None = None, **arguments: Any
    ) -> Iterator[Reachability]:
        from botocore.exceptions import BotoCoreError, ClientError

        subject = f"{self._settings.bucket}: {what}"
        try:
            answer = getattr(self._client(), method)(**arguments)
        except (BotoCoreError, ClientError) as error:
            refused = s3_client.refusal(error, self._settings.bucket)
            yield Reachability(subject=subject, ok=False, seen=refused.message, hint=refused.hint)
        else:
            if into is not None:
                into |= answer
            yield Reachability(subject=subject, ok=True, seen="answers")

    def discover(self) -> Iterator[Asset]:
        """One collection, whose rows are object versions; then each object that the plan calls a table."""
        from botocore.exceptions import BotoCoreError, ClientError

        asset = Asset(source=self._name, kind=Kind.OBJECTS, name=self._asset_name)
        rows = size = 0
        try:
            for version in self._listing():
                rows, size = rows + 1, size + (version.size or 0)
        except (BotoCoreError, ClientError) as error:
            refused = s3_client.refusal(error, f"bucket {self._settings.bucket}")
            if not s3_client.is_denied(error):
                raise refused from error
            yield replace(asset, obstacle=f"{refused.message} (try: {refused.hint})")
            return
        yield replace(asset, rows=rows, size_bytes=size)
        if self._settings.tabular:
            yield from s3_tables.assets(self._name, self._settings.bucket, self._listing(), self._settings.tabular)

    # --- reading ------------------------------------------------------------------------------------------------

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """Write the contents, the index and the bucket's settings.

        Raises:
            SourceError: the bucket cannot be listed or stops answering. What one object refuses is in its row.
        """
        import pyarrow.parquet as pq
        from botocore.exceptions import BotoCoreError, ClientError

        if asset.kind is Kind.TABLE:
            self._export_table(asset, into)
            return
        reading = Reading(self._client(), self._settings.bucket, asset, into)
        kept: set[str] = set()
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        try:
            versions = _sorted(self._listing())
            with (
                into.part(f"{asset.folder}/index.parquet") as stream,
                pq.ParquetWriter(stream, schema(), compression="zstd") as writer,
            ):
                for batch in _batches(versions):
                    rows = [row for row in pool.map(reading.row, batch) if row is not None]
                    kept.update(row["sha256"] for row in rows if row["sha256"] is not None)
                    writer.write_table(table(rows))
            settings = s3_settings.read(self._client(), self._settings.bucket)
        except (BotoCoreError, ClientError) as error:
            raise s3_client.refusal(error, f"bucket {self._settings.bucket}") from error
        finally:
            reading.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        into.keep_objects(asset, kept)
        into.put_json(f"{asset.folder}/bucket.json", self._describe(settings, reading))

    def stands(self, asset: Asset, into: "BundleWriter") -> bool:
        """Always: S3 has no snapshots: each version is what it was, and `object_from` finds those that were read."""
        return True

    def witness(self, asset: Asset) -> Witness:
        """Ask again: other listings, other requests, and for the contents another client."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if asset.kind is Kind.TABLE:
                if asset.id not in self._conversions:
                    raise SourceError(f"{asset.name}: nothing was exported", hint="type the same command again")
                return self._conversions[asset.id].witness(self._client())
            return s3_witness.testify(
                self._client(), self._credentials(), bucket=self._settings.bucket, prefix=self._settings.prefix,
                versions=self._settings.versions,
            )  # fmt: skip
        except (BotoCoreError, ClientError) as error:
            raise s3_client.refusal(error, f"bucket {self._settings.bucket}, read a second time") from error

    def close(self) -> None:
        """Give the connections back."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _export_table(self, asset: Asset, into: "BundleWriter") -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            one = s3_tables.Conversion(self._settings.bucket, asset, self._listing(), self._settings.tabular)
            one.export(self._client(), asset, into)
        except (BotoCoreError, ClientError) as error:
            raise s3_client.refusal(error, f"object {asset.name}") from error
        self._conversions[asset.id] = one

    # --- helpers ------------------------------------------------------------------------------------------------

    @property
    def _asset_name(self) -> str:
        return "/".join(part for part in (self._settings.bucket, self._settings.prefix) if part)

    def _credentials(self) -> dict[str, str | None]:
        """The client's arguments; the secrets are read from the environment here, and kept nowhere."""
        chosen, key = self._settings, f"source.{self._name}"
        return {
            "region": chosen.region,
            "endpoint_url": chosen.endpoint_url,
            "access_key": None if chosen.access_key is None else chosen.access_key.reveal(key=f"{key}.access_key"),
            "secret_key": None if chosen.secret_key is None else chosen.secret_key.reveal(key=f"{key}.secret_key"),
        }

    def _client(self) -> Any:
        if self._connected is None:
            credentials = self._credentials()
            self._connected = s3_client.connect(
                region=self._settings.region, endpoint_url=credentials["endpoint_url"],
                access_key=credentials["access_key"], secret_key=credentials["secret_key"],
            )  # fmt: skip
        return self._connected

    def _listing(self) -> Iterator[Version]:
        client, bucket, prefix = self._client(), self._settings.bucket, self._settings.prefix
        if self._settings.versions:
            return s3_client.list_versions(client, bucket, prefix)
        return (s3_witness.as_version(one) for one in s3_client.list_latest(client, bucket, prefix))

    def _describe(self, settings: s3_settings.BucketSettings, reading: Reading) -> dict[str, Any]:
        return {
            "format": FORMAT, "bucket": self._settings.bucket, "prefix": self._settings.prefix,
            "versions": self._settings.versions, "settings": settings.found, "refused": settings.refused,
            "unsupported": settings.unsupported, "changed_during_export": sorted(reading.changed),
            "gone_during_export": sorted(reading.gone),
        }  # fmt: skip


def _sorted(versions: Iterator[Version]) -> list[Version]:
    """By key in UTF-8 bytes, then by age: a server may list in another order. About 0.5 kB a version."""
    return sorted(versions, key=lambda one: (one.key.encode(), one.sequence))


def _batches(versions: list[Version]) -> Iterator[list[Version]]:
    for start in range(0, len(versions), _BATCH):
        yield versions[start : start + _BATCH]
