"""How does one file go up: in one piece or in parts, with a digest that the server verifies?"""

import base64
import hashlib
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from xml.sax.saxutils import escape

from reversible.bundle.transfer import blocks
from reversible.errors import BundleError, DestinationError
from reversible.s3 import Answer, Client
from reversible.storage_doctor import Settings

# What a server answers when bytes and digest do not fit: they changed on the way.
ALTERED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})


def send(
    client: Client,
    settings: Settings,
    key: str,
    source: Path,
    sha256: str,
    *,
    stop: threading.Event | None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Answer:
    """Put the file's bytes under `key`; the server's answer, good or bad.

    Args:
        headers: What else is said about the object: its type, metadata and tags.

    Raises:
        BundleError: the file does not have the digest: nothing of it stays.
        DestinationError: no number of parts that this server takes holds it.
        UnreachableError: no answer came.
    """
    size = source.stat().st_size
    try:
        part = settings.part_bytes(size)
    except ValueError as error:
        raise DestinationError(f"{key}: {error}", hint="choose a storage that takes 10,000 parts") from error
    pieces = _pieces(source, sha256, part, stop)
    if size <= part:
        body = b"".join(pieces)
        return client.send("PUT", key, body=body, headers={**headers, **_digest(settings, body)}, payload=sha256)
    return _in_parts(client, settings, key, pieces, headers)


def _in_parts(
    client: Client, settings: Settings, key: str, pieces: Iterator[bytes], headers: Mapping[str, str]
) -> Answer:
    _give_up_older(client, key)
    begun = client.send("POST", key, query={"uploads": ""}, headers=headers)
    if not begun.ok:
        return begun
    (upload,) = begun.texts("UploadId")
    finished = False
    try:
        rows = []
        for number, body in enumerate(pieces, 1):
            query = {"partNumber": str(number), "uploadId": upload}
            answer = client.send("PUT", key, query=query, body=body, headers=_digest(settings, body))
            if not answer.ok:
                return answer
            etag = escape(answer.headers.get("etag", ""))
            rows.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        document = "".join(rows)
        document = (
            f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{document}'
            "</CompleteMultipartUpload>"
        )
        answer = client.send("POST", key, query={"uploadId": upload}, body=document.encode())
        if answer.ok and b"<Error>" in answer.body:  # READ (AWS, CompleteMultipartUpload): an error may come with 200
            return Answer(status=400, headers=answer.headers, body=answer.body)
        finished = answer.ok
        return answer
    finally:
        if not finished:
            client.send("DELETE", key, query={"uploadId": upload})


def _give_up_older(client: Client, key: str) -> None:
    """Parts that a killed run left under this key: providers bill them, and no listing shows them."""
    found = client.send("GET", query={"uploads": "", "prefix": key})
    if not found.ok:
        return  # it does not list them
    for name, upload in zip(found.texts("Upload/Key"), found.texts("Upload/UploadId"), strict=True):
        if name == key:
            client.send("DELETE", key, query={"uploadId": upload})


def _pieces(source: Path, sha256: str, size: int, stop: threading.Event | None) -> Iterator[bytes]:
    """The file in pieces of `size` bytes; the last one is given only if all were the right ones."""
    digest = hashlib.sha256()
    held: bytes | None = None
    with source.open("rb") as file:
        for piece in blocks(file, stop=stop, size=size):
            digest.update(piece)
            if held is not None:
                yield held
            held = piece
    if digest.hexdigest() != sha256:
        raise BundleError(f"{source} was altered: its SHA-256 is not the one in the manifest")
    yield held or b""


def _digest(settings: Settings, body: bytes) -> dict[str, str]:
    """The header that this server verifies. The signature covers a SHA-256 of the bytes in any case."""
    if settings.checksum == "sha256":
        return {"x-amz-checksum-sha256": _base64(hashlib.sha256(body).digest())}
    if settings.checksum == "crc32":
        return {"x-amz-checksum-crc32": _base64(zlib.crc32(body).to_bytes(4, "big"))}
    if settings.checksum == "md5":
        return {"content-md5": _base64(hashlib.md5(body, usedforsecurity=False).digest())}
    return {}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
