"""What does the bucket say when it is asked again, by another route?

What is there now comes from ListObjectsV2 instead of ListObjectVersions, what is said about an object from the raw
headers of HEAD instead of GetObject's parsed answer, and the contents through pyarrow's C++ client instead of
boto3. Keys that the C++ client cannot address ("a//b", "../x", a line break) and old versions whose ETag is not an
MD5 are read a second time by boto3, in ranges; the facts count how many of each.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reversible.errors import SourceError
from reversible.interfaces import Witness
from reversible_exporters import s3_client, s3_settings
from reversible_exporters.s3_client import THREADS, Version

if TYPE_CHECKING:
    import pyarrow as pa

METHOD = (
    "ListObjectsV2 for what is there now and ListObjectVersions for the rest; HEAD for headers and metadata; latest "
    "contents read again by the Arrow C++ S3 client, or in ranges by boto3 where the key allows nothing else; old "
    "versions by their ETag where it is an MD5, in ranges by boto3 where it is not"
)
_RANGE = 8 << 20
_BATCH = 1_000
_HEADERS = (
    "content_type", "cache_control", "content_encoding", "content_disposition", "content_language", "expires",
)  # fmt: skip
_CLEAN = re.compile(r"(?!\.{1,2}(?:/|$))[^\x00-\x1f\x7f/]+(?:/(?!\.{1,2}(?:/|$))[^\x00-\x1f\x7f/]+)*")


def testify(client: Any, options: Mapping[str, str | None], *, bucket: str, prefix: str, versions: bool) -> Witness:
    """Ask everything again.

    Args:
        client: boto3's.
        options: region, endpoint_url, access_key and secret_key, for the second client.
        bucket, prefix: What the asset is.
        versions: Whether old versions are in scope.

    Raises:
        SourceError: a content cannot be read a second time.
    """
    import pyarrow as pa

    second = _Second(client, _arrow(options), bucket)
    listed = list(_listed(client, bucket, prefix, versions=versions))
    tables = [_table([])]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="witness") as pool:
        try:
            for start in range(0, len(listed), _BATCH):
                tables.append(_table(list(pool.map(second.row, listed[start : start + _BATCH]))))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    objects = pa.concat_tables(tables)
    settings = s3_settings.read(client, bucket)
    facts = {
        "versions": objects.num_rows,
        "objects": sum(one.is_latest and not one.delete_marker for one in listed),
        "delete_markers": sum(one.delete_marker for one in listed),
        "bytes": sum(size or 0 for size in objects["size"].to_pylist()),
        "versions_in_scope": versions,
        "read_by": dict(sorted(Counter(by for by in objects["read_by"].to_pylist() if by is not None).items())),
        "settings": {name: _digest(value) for name, value in sorted(settings.found.items())},
        "settings_refused": settings.refused,
        "settings_unsupported": settings.unsupported,
    }
    return Witness(method=METHOD, facts=facts, tables={"objects": objects})


def as_version(one: Mapping[str, Any]) -> Version:
    """An object of ListObjectsV2 as its own only version."""
    return Version(
        key=one["Key"], version_id="null", sequence=0, is_latest=True, delete_marker=False, size=one["Size"],
        etag=one["ETag"], last_modified=one["LastModified"], storage_class=one.get("StorageClass"),
    )  # fmt: skip


def _listed(client: Any, bucket: str, prefix: str, *, versions: bool) -> Iterator[Version]:
    """Latest objects as ListObjectsV2 gives them; all else as ListObjectVersions does."""
    now = {one["Key"]: as_version(one) for one in s3_client.list_latest(client, bucket, prefix)}
    if versions:
        for version in s3_client.list_versions(client, bucket, prefix):
            if version.is_latest and not version.delete_marker:
                seen = now.pop(version.key, None)
                if seen is None:
                    continue  # only one of the two listings names it: the bundle's row, if any, is then one too many
                yield Version(**{**vars(seen), "version_id": version.version_id, "sequence": version.sequence})
            else:
                yield version
    yield from now.values()


@dataclass(frozen=True)
class _Second:
    """The second reading; threads call `row`."""

    client: Any
    arrow: Any
    bucket: str

    def row(self, version: Version) -> dict[str, Any]:
        """What the source says about one version now."""
        from botocore.exceptions import ClientError

        row = {
            "key": version.key, "version_id": version.version_id, "sequence": version.sequence,
            "is_latest": version.is_latest, "delete_marker": version.delete_marker,
            "last_modified": version.last_modified,
        }  # fmt: skip
        if version.delete_marker:
            return row
        where = {"Key": version.key}
        if not version.is_latest:
            where["VersionId"] = version.version_id
        try:
            answer = self.client.head_object(Bucket=self.bucket, **where)
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            content = self._content(version, where, headers)
            tags = self._tags(where)
        except ClientError as error:
            if s3_client.error_code(error) not in ("404", "NoSuchKey", "NoSuchVersion") and not _is_refusal(error):
                raise
            return {**row, "size": version.size, "error": s3_client.refusal(error, "a second reading").message[:300]}
        metadata = {
            name[len("x-amz-meta-") :]: text for name, text in headers.items() if name.startswith("x-amz-meta-")
        }
        return {
            **row,
            "size": int(headers["content-length"]),
            **content,
            **{name: headers.get(name.replace("_", "-")) for name in _HEADERS},
            "metadata": json.dumps(metadata, ensure_ascii=False, sort_keys=True),
            "tags": tags,
        }

    def _content(self, version: Version, where: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        if not version.is_latest and (md5 := _md5(headers)) is not None:
            return {"md5": md5, "read_by": "ETag"}
        if version.is_latest and _CLEAN.fullmatch(version.key):
            try:
                return {"sha256": self._by_arrow(version.key), "read_by": "Arrow"}
            except OSError:
                pass  # the ranges say the same, or say why not
        return {"sha256": self._by_ranges(where, int(headers["content-length"])), "read_by": "boto3 ranges"}

    def _by_arrow(self, key: str) -> str:
        digest = hashlib.sha256()
        with self.arrow.open_input_stream(f"{self.bucket}/{key}") as stream:
            while block := stream.read(_RANGE):
                digest.update(block)
        return digest.hexdigest()

    def _by_ranges(self, where: Mapping[str, str], size: int) -> str:
        from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

        digest = hashlib.sha256()
        for start in range(0, size, _RANGE):
            for attempt in range(5):
                try:
                    part = f"bytes={start}-{min(size, start + _RANGE) - 1}"
                    answer = self.client.get_object(Bucket=self.bucket, **where, Range=part)
                    if "ContentRange" not in answer:  # some servers answer with the whole object, and 200
                        return _sha256(answer["Body"].iter_chunks(_RANGE))
                    block = answer["Body"].read()
                    break
                except (HTTPClientError, IncompleteReadError, ResponseStreamingError) as error:
                    if attempt == 4:
                        raise s3_client.refusal(error, f"{self.bucket}/{where['Key']}") from error
            if len(block) != min(size, start + _RANGE) - start:
                raise SourceError(f"{self.bucket}/{where['Key']}: the source gave {len(block)} bytes for {part}")
            digest.update(block)
        return digest.hexdigest()

    def _tags(self, where: Mapping[str, str]) -> str | None:
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_object_tagging(Bucket=self.bucket, **where)
        except ClientError as error:
            if s3_client.error_code(error) in s3_settings.UNKNOWN:
                return "{}"  # this server has no tags
            if _is_refusal(error):
                return None  # unknown
            raise
        return json.dumps({tag["Key"]: tag["Value"] for tag in answer["TagSet"]}, ensure_ascii=False, sort_keys=True)


def _sha256(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _is_refusal(error: Exception) -> bool:
    response: Mapping[str, Any] = getattr(error, "response", {})
    return 400 <= int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) < 500


def _md5(headers: Mapping[str, str]) -> str | None:
    """The content's MD5, where the ETag is one.

    Source:
        AWS, "Checking object integrity": the ETag of a single-part object is its MD5 unless it is encrypted with
        KMS or with a key of the customer's own.
    """
    etag = headers.get("etag", "").strip('"')
    plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    if (
        plain
        and "x-amz-server-side-encryption-customer-algorithm" not in headers
        and re.fullmatch("[0-9a-f]{32}", etag)
    ):
        return etag
    return None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _arrow(options: Mapping[str, str | None]) -> Any:
    from pyarrow import fs

    chosen: dict[str, Any] = {"region": options["region"], "connect_timeout": 10.0}
    if options["access_key"] is not None:
        chosen |= {"access_key": options["access_key"], "secret_key": options["secret_key"]}
    if options["endpoint_url"] is not None:
        address = urlsplit(options["endpoint_url"])
        chosen |= {"scheme": address.scheme, "endpoint_override": address.netloc}
    return fs.S3FileSystem(**chosen)


def _table(rows: list[dict[str, Any]]) -> "pa.Table":
    import pyarrow as pa

    text = pa.string()
    schema = pa.schema(
        [
            ("key", text), ("version_id", text), ("sequence", pa.int32()), ("is_latest", pa.bool_()),
            ("delete_marker", pa.bool_()), ("size", pa.int64()), ("sha256", text), ("md5", text), ("read_by", text),
            ("last_modified", pa.timestamp("us", "UTC")), *((name, text) for name in _HEADERS),
            ("metadata", text), ("tags", text), ("error", text),
        ]
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema)
