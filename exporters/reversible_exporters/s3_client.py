"""How does an S3 source answer, and what does its refusal mean?

Everything here reads; nothing writes. Bodies that break off are taken up where they broke: boto3 does not retry
them itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reversible.errors import MissingSDKError, SourceError

THREADS = 8
_BLOCK = 1 << 20
_BREAKS = 5  # times in a row that a body may break off without giving a byte
_PROPERTIES = ("content_type", "cache_control", "content_encoding", "content_disposition", "content_language")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One line of the source's own listing. `sequence` counts the versions of one key, 0 the oldest."""

    key: str
    version_id: str
    sequence: int
    is_latest: bool
    delete_marker: bool
    size: int | None
    etag: str | None
    last_modified: datetime
    storage_class: str | None


def connect(
    *, region: str, endpoint_url: str | None, access_key: str | None, secret_key: str | None, threads: int = THREADS,
    token: str | None = None,
) -> Any:  # fmt: skip
    """A boto3 client; its own chain finds the credentials when none are given.

    Raises:
        MissingSDKError: boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise MissingSDKError("boto3", extra="aws") from error
    config = Config(
        connect_timeout=10, read_timeout=30, max_pool_connections=threads + 2,
        retries={"mode": "standard", "total_max_attempts": 4},
        # The destination's storage may have set the environment to less; the source's answers are always checked.
        response_checksum_validation="when_supported",
    )  # fmt: skip
    return boto3.client(
        "s3", region_name=region, endpoint_url=endpoint_url, aws_access_key_id=access_key,
        aws_secret_access_key=secret_key, aws_session_token=token, config=config,
    )  # fmt: skip


def list_versions(client: Any, bucket: str, prefix: str) -> Iterator[Version]:
    """Every version and delete marker, as the source lists them (ListObjectVersions), key by key.

    The source gives versions and markers as two lists, each newest first; one key's are merged by time. Of two
    with the same time the latest is the newer, and otherwise a version is older than the marker that hides it.
    """
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    key: str | None = None
    same: list[dict[str, Any]] = []
    for page in pages:
        versions = [{**one, "marker": False} for one in page.get("Versions", ())]
        markers = [{**one, "marker": True} for one in page.get("DeleteMarkers", ())]
        for one in sorted((*versions, *markers), key=lambda item: item["Key"].encode()):
            if one["Key"] != key:
                yield from _in_order(same)
                key, same = one["Key"], []
            same.append(one)
    yield from _in_order(same)


def list_latest(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """What the source holds now (ListObjectsV2), as boto3 gives it: Key, Size, ETag, LastModified."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", ())


def _in_order(same: list[dict[str, Any]]) -> Iterator[Version]:
    oldest_first = same[::-1]
    oldest_first.sort(key=lambda one: (one["IsLatest"], one["LastModified"]))
    for sequence, one in enumerate(oldest_first):
        yield Version(
            key=one["Key"], version_id=one.get("VersionId") or "null", sequence=sequence, is_latest=one["IsLatest"],
            delete_marker=one["marker"], size=one.get("Size"), etag=one.get("ETag"),
            last_modified=one["LastModified"], storage_class=one.get("StorageClass"),
        )  # fmt: skip


def address(version: Version) -> dict[str, str]:
    """The arguments that name exactly this version. An object without versions is guarded by its ETag instead."""
    if version.version_id != "null" or not version.is_latest:
        return {"Key": version.key, "VersionId": version.version_id}
    return {"Key": version.key, **({"IfMatch": version.etag} if version.etag else {})}


def body(client: Any, bucket: str, where: Mapping[str, str], answer: Mapping[str, Any]) -> Iterator[bytes]:
    """The bytes that GetObject answered with; after a break, the rest by a ranged request on the same ETag.

    Raises:
        botocore's exception: it breaks off again and again, or the object changed.
    """
    from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

    stream, offset, breaks = answer["Body"], 0, 0
    total = answer["ContentLength"]
    try:
        while True:
            try:
                while block := stream.read(_BLOCK):
                    offset, breaks = offset + len(block), 0
                    yield block
                return
            except (HTTPClientError, ResponseStreamingError, IncompleteReadError):
                breaks += 1
                if breaks > _BREAKS:
                    raise
                stream.close()
                if offset >= total:
                    return
                rest = {"IfMatch": answer["ETag"], "Range": f"bytes={offset}-{total - 1}"}
                again = client.get_object(Bucket=bucket, **{**where, **rest})
                stream = again["Body"]
                if "ContentRange" not in again:  # some servers answer with the whole object, and 200
                    _skip(stream, offset)
    finally:
        stream.close()


def _skip(stream: Any, size: int) -> None:
    while size > 0 and (block := stream.read(min(size, _BLOCK))):
        size -= len(block)


def properties(answer: Mapping[str, Any]) -> dict[str, str | None]:
    """The headers that describe the content, of a HeadObject's or GetObject's answer."""
    found = {name: answer.get(name.title().replace("_", "")) for name in _PROPERTIES}
    return {**found, "expires": answer.get("ExpiresString")}


def refusal(error: Exception, subject: str) -> SourceError:
    """A botocore exception in one line, with the right that is missing."""
    from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

    if isinstance(error, NoCredentialsError):
        return SourceError(
            f"{subject}: no credentials were found", hint="export AWS_ACCESS_KEY_ID=... or set access_key"
        )
    if isinstance(error, EndpointConnectionError):
        return SourceError(f"{subject}: {error}", hint="check endpoint_url and region in the exit plan")
    if not isinstance(error, ClientError):
        return SourceError(
            f"{subject}: {type(error).__name__}: {error}", hint="type the same command again: it resumes"
        )
    code, operation = error_code(error), error.operation_name
    if code == "NoSuchBucket" or (code == "404" and operation == "HeadBucket"):
        return SourceError(f"{subject}: there is no such bucket", hint="aws s3 ls")
    if is_denied(error):
        return SourceError(f"{subject}: access denied to {operation}", hint=f"grant {action(operation)} to the reader")
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return SourceError(
            f"{subject}: the access key or the secret key is refused", hint="aws sts get-caller-identity"
        )
    said = error.response.get("Error", {}).get("Message", "")
    return SourceError(f"{subject}: {operation} was refused: {code}: {said}".replace("\n", " "))


def error_code(error: Exception) -> str:
    """The S3 error code of a botocore ClientError; "" for anything else."""
    response: Mapping[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def is_denied(error: Exception) -> bool:
    return error_code(error) in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled")


# API operation -> the IAM action that allows it, where the names differ (READ: the S3 service authorization reference).
_ACTIONS = {
    "HeadBucket": "s3:ListBucket", "ListObjectsV2": "s3:ListBucket", "ListObjectVersions": "s3:ListBucketVersions",
    "HeadObject": "s3:GetObject and s3:GetObjectVersion", "GetObject": "s3:GetObject and s3:GetObjectVersion",
    "GetObjectTagging": "s3:GetObjectTagging and s3:GetObjectVersionTagging",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration", "GetBucketCors": "s3:GetBucketCORS",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration", "GetBucketReplication": "s3:GetReplicationConfiguration",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
}  # fmt: skip


def action(operation: str) -> str:
    """The IAM action behind an API operation."""
    return _ACTIONS.get(operation, f"s3:{operation}")
