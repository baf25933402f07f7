"""What does one object version become in the index, and how does its content arrive whole?"""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reversible.assets import Asset
from reversible.errors import Interrupted
from reversible_exporters import s3_client, s3_settings
from reversible_exporters.s3_client import Version

if TYPE_CHECKING:
    import pyarrow as pa

    from reversible.bundle.writer import BundleWriter

_ATTEMPTS = 3  # readings of one object that changes, or whose bytes do not fit the server's own checksum
_CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
_GONE = ("NoSuchKey", "NoSuchVersion", "404")
_CHANGED = ("PreconditionFailed", "412")


@dataclass
class Reading:
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
                    return {**_row(version), "error": _why(error)}
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
                return {"tags": None, "error": f"tags: {_why(error)}"}
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


def _why(error: Exception) -> str:
    refused = s3_client.refusal(error, "refused")
    return f"{refused.message} (try: {refused.hint})" if refused.hint else refused.message


def json_text(mapping: Mapping[str, str]) -> str:
    """A JSON object with sorted keys: the same content gives the same text."""
    return json.dumps(dict(mapping), ensure_ascii=False, sort_keys=True)


def _row(version: Version) -> dict[str, Any]:
    return {
        **dict.fromkeys(schema().names),
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


def schema() -> "pa.Schema":
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


def table(rows: list[dict[str, Any]]) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema())
