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

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reversible.assets import Asset, Kind
from reversible.errors import Interrupted, SourceError
from reversible.interfaces import Reachability, Witness
from reversible.secrets import Secret
from reversible_exporters import s3_client, s3_settings, s3_witness
from reversible_exporters.s3_client import THREADS, Version

if TYPE_CHECKING:
    import pyarrow as pa

    from reversible.bundle.writer import BundleWriter

FORMAT = "reversible-objects/1"
_BATCH = 1_000  # rows in memory at once
_ATTEMPTS = 3  # readings of one object that changes, or whose bytes do not fit the server's own checksum
_CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
_GONE = ("NoSuchKey", "NoSuchVersion", "404")
_CHANGED = ("PreconditionFailed", "412")


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

        @model_validator(mode="after")
        def _both_keys_or_none(self) -> "S3Exporter.Settings":
            if (self.access_key is None) != (self.secret_key is None):
                raise ValueError("access_key and secret_key together, or neither")
            return self

    def __init__(self, name: str, settings: Settings) -> None:
        self._name = name
        self._settings = settings
        self._connected: Any = None

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
        """One asset; its rows are object versions."""
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

    # --- reading ------------------------------------------------------------------------------------------------

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """Write the contents, the index and the bucket's settings.

        Raises:
            SourceError: the bucket cannot be listed or stops answering. What one object refuses is in its row.
        """
        import pyarrow.parquet as pq
        from botocore.exceptions import BotoCoreError, ClientError

        reading = _Reading(self._client(), self._settings.bucket, asset, into)
        kept: set[str] = set()
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        try:
            versions = _sorted(self._listing())
            with (
                into.part(f"{asset.folder}/index.parquet") as stream,
                pq.ParquetWriter(stream, _schema(), compression="zstd") as writer,
            ):
                for batch in _batches(versions):
                    rows = [row for row in pool.map(reading.row, batch) if row is not None]
                    kept.update(row["sha256"] for row in rows if row["sha256"] is not None)
                    writer.write_table(_table(rows))
            settings = s3_settings.read(self._client(), self._settings.bucket)
        except (BotoCoreError, ClientError) as error:
            raise s3_client.refusal(error, f"bucket {self._settings.bucket}") from error
        finally:
            reading.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        into.keep_objects(asset, kept)
        into.put_json(f"{asset.folder}/bucket.json", self._describe(settings, reading))

    def witness(self, asset: Asset) -> Witness:
        """Ask again: other listings, other requests, and for the contents another client."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
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

    def _describe(self, settings: s3_settings.BucketSettings, reading: "_Reading") -> dict[str, Any]:
        return {
            "format": FORMAT, "bucket": self._settings.bucket, "prefix": self._settings.prefix,
            "versions": self._settings.versions, "settings": settings.found, "refused": settings.refused,
            "unsupported": settings.unsupported, "changed_during_export": sorted(reading.changed),
            "gone_during_export": sorted(reading.gone),
        }  # fmt: skip


@dataclass
class _Reading:
    """One export under way; threads call `row`."""

    client: Any
    bucket: str
    asset: Asset
    into: "BundleWriter"
    stop: threading.Event = field(default_factory=threading.Event)
    changed: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    def row(self, version: Version) -> dict[str, Any] | None:
        """The version's row of the index, its content being in the bundle; None when it is gone.

        Raises:
            SourceError: the source does not give the bytes whole.
        """
        from botocore.exceptions import ClientError, FlexibleChecksumError

        if version.delete_marker:
            return _row(version)
        failure: Exception | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self._read(version)
            except FlexibleChecksumError as error:
                failure = error
            except ClientError as error:
                code, status = s3_client.error_code(error), error.response["ResponseMetadata"]["HTTPStatusCode"]
                if code in _GONE:
                    self.gone.add(version.key)
                    return None
                if code in _CHANGED:
                    self.changed.add(version.key)
                    version, failure = self._now(version), error
                elif 400 <= status < 500:
                    return {**_row(version), "error": s3_client.refusal(error, code).message[:300]}
                else:
                    raise
        assert failure is not None  # noqa: S101 - for the type checker: no attempt returned
        raise s3_client.refusal(failure, f"{self.bucket}/{version.key}") from failure

    def _read(self, version: Version) -> dict[str, Any]:
        where = s3_client.address(version)
        origin = json.dumps([version.key, version.version_id, version.etag, version.last_modified.isoformat()])
        known = self.into.object_from(self.asset, origin)
        if known is not None:  # a stopped export read it: the words about it are asked again, the bytes are not
            answer = self.client.head_object(Bucket=self.bucket, **where, ChecksumMode="ENABLED")
            sha256, size = known
        else:
            answer = self.client.get_object(Bucket=self.bucket, **where, ChecksumMode="ENABLED")
            content = self._until_stopped(s3_client.body(self.client, self.bucket, where, answer))
            sha256, size = self.into.put_object(self.asset, content, origin=origin)
        checksums = {name: answer[f"Checksum{name}"] for name in _CHECKSUMS if answer.get(f"Checksum{name}")}
        return {
            **_row(version),
            "size": size,
            "sha256": sha256,
            **s3_client.properties(answer),
            "storage_class": version.storage_class or answer.get("StorageClass"),
            "metadata": json_text({name.lower(): value for name, value in answer.get("Metadata", {}).items()}),
            "checksums": json_text(checksums),
            **self._tags(where),
        }

    def _tags(self, where: Mapping[str, str]) -> dict[str, str | None]:
        """The tags; null when the source, which gave the content, does not say, and `error` when it refuses to."""
        from botocore.exceptions import ClientError

        chosen = {name: value for name, value in where.items() if name != "IfMatch"}
        try:
            answer = self.client.get_object_tagging(Bucket=self.bucket, **chosen)
        except ClientError as error:
            code = s3_client.error_code(error)
            if code in s3_settings.UNKNOWN:
                return {"tags": "{}"}  # this server has no tags
            if code in _GONE:
                return {"tags": None}
            if s3_client.is_denied(error):
                return {"tags": None, "error": s3_client.refusal(error, "tags").message}
            raise
        return {"tags": json_text({tag["Key"]: tag["Value"] for tag in answer["TagSet"]})}

    def _now(self, version: Version) -> Version:
        """What stands under the key now: only an object without versions can change."""
        answer = self.client.head_object(Bucket=self.bucket, Key=version.key)
        return replace(version, etag=answer["ETag"], size=answer["ContentLength"], last_modified=answer["LastModified"])

    def _until_stopped(self, content: Iterator[bytes]) -> Iterator[bytes]:
        for block in content:
            if self.stop.is_set():
                raise Interrupted("the export was stopped", hint="type the same command again: it goes on from here")
            yield block


def json_text(mapping: Mapping[str, str]) -> str:
    """A JSON object with sorted keys: the same content gives the same text."""
    return json.dumps(dict(mapping), ensure_ascii=False, sort_keys=True)


def _row(version: Version) -> dict[str, Any]:
    return {
        **dict.fromkeys(_schema().names),
        "key": version.key,
        "version_id": version.version_id,
        "sequence": version.sequence,
        "is_latest": version.is_latest,
        "delete_marker": version.delete_marker,
        "size": version.size if not version.delete_marker else None,
        "etag": version.etag and version.etag.strip('"'),
        "last_modified": version.last_modified,
        "storage_class": version.storage_class,
    }


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            pa.field("key", text, nullable=False), pa.field("version_id", text, nullable=False),
            pa.field("sequence", pa.int32(), nullable=False), pa.field("is_latest", pa.bool_(), nullable=False),
            pa.field("delete_marker", pa.bool_(), nullable=False), ("size", pa.int64()), ("sha256", text),
            ("etag", text), pa.field("last_modified", pa.timestamp("us", "UTC"), nullable=False),
            ("content_type", text), ("cache_control", text), ("content_encoding", text),
            ("content_disposition", text), ("content_language", text), ("expires", text), ("storage_class", text),
            ("metadata", text), ("tags", text), ("checksums", text), ("error", text),
        ]
    )  # fmt: skip


def _table(rows: list[dict[str, Any]]) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_pylist(rows, _schema())


def _sorted(versions: Iterator[Version]) -> list[Version]:
    """By key in UTF-8 bytes, then by age: a server may list in another order. About 0.5 kB a version."""
    return sorted(versions, key=lambda one: (one.key.encode(), one.sequence))


def _batches(versions: list[Version]) -> Iterator[list[Version]]:
    for start in range(0, len(versions), _BATCH):
        yield versions[start : start + _BATCH]
