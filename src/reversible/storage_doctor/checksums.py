"""Does the server notice that bytes changed on the way, and does it give a checksum back?

Each digest is sent twice: the right one, which must be taken, and a wrong one, which must be refused. A wrong one
that is answered with 200 is a lie whatever was stored.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable

from reversible.s3 import Answer
from reversible.storage_doctor.bench import Bench, lies, operation, refused


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@operation("md5", "an object with its Content-MD5")
def content_md5(bench: Bench) -> None:
    key, body = bench.key("md5"), bench.content()
    bench.put(key, body, {"content-md5": md5(body)})
    bench.same(key, body)


@operation("md5.wrong", "a wrong Content-MD5 is refused")
def wrong_md5(bench: Bench) -> None:
    _wrong(bench, "md5-wrong", lambda other: {"content-md5": md5(other)})


@operation("payload.wrong", "bytes that are not those that were signed are refused")
def wrong_payload(bench: Bench) -> None:
    key = bench.key("payload-wrong")
    other = hashlib.sha256(bench.content()).hexdigest()
    answer = bench.client.send("PUT", key, body=bench.content(), payload=other)
    bench.must_refuse(answer, "bytes whose SHA-256 is not the signed one were answered with 200")


@operation("sha256", "an object's SHA-256 is kept and given back")
def kept_sha256(bench: Bench) -> None:
    _kept(bench, "sha256", sha256)


@operation("sha256.wrong", "a wrong SHA-256 is refused")
def wrong_sha256(bench: Bench) -> None:
    _wrong(bench, "sha256-wrong", lambda other: {"x-amz-checksum-sha256": sha256(other)})


@operation("crc32", "an object's CRC32 is kept and given back")
def kept_crc32(bench: Bench) -> None:
    _kept(bench, "crc32", crc32)


@operation("crc32.wrong", "a wrong CRC32 is refused")
def wrong_crc32(bench: Bench) -> None:
    _wrong(bench, "crc32-wrong", lambda other: {"x-amz-checksum-crc32": crc32(other)})


@operation("trailer", "a checksum after the bytes, as vendors' clients send it since 2025")
def trailer(bench: Bench) -> None:
    """READ (AWS, "Signature calculations: transferring payload in multiple chunks"): aws-chunked with a trailer."""
    key, body = bench.key("trailer"), bench.content(1_000)
    answer = _trailed(bench, key, body, crc32(body))
    if not answer.ok:
        refused(answer)
    bench.same(key, body)


@operation("trailer.wrong", "a wrong checksum after the bytes is refused")
def wrong_trailer(bench: Bench) -> None:
    key, body = bench.key("trailer-wrong"), bench.content(1_000)
    answer = _trailed(bench, key, body, crc32(b"other"))
    bench.must_refuse(answer, "a wrong checksum was answered with 200")


def _trailed(bench: Bench, key: str, body: bytes, checksum: str) -> Answer:
    framed = f"{len(body):x}\r\n".encode() + body + f"\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode()
    headers = {
        "content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-decoded-content-length": str(len(body)),
    }  # fmt: skip
    return bench.client.send(
        "PUT", key, body=framed, headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", chunked=True
    )


def _kept(bench: Bench, name: str, digest: Callable[[bytes], str]) -> None:
    key, body = bench.key(name), bench.content()
    bench.put(key, body, {f"x-amz-checksum-{name}": digest(body)})
    bench.same(key, body)
    answer = bench.ask("HEAD", key, headers={"x-amz-checksum-mode": "ENABLED"})
    given = answer.headers.get(f"x-amz-checksum-{name}")
    if given is None:
        lies("it was taken with 200 and not kept")
    if given != digest(body):
        lies("another checksum came back than was sent")


def _wrong(bench: Bench, name: str, headers: Callable[[bytes], dict[str, str]]) -> None:
    key = bench.key(name)
    answer = bench.client.send("PUT", key, body=bench.content(), headers=headers(bench.content()))
    bench.must_refuse(answer, "a wrong checksum was answered with 200")
    if bench.client.send("GET", key).ok:
        lies("a wrong checksum was refused, and the bytes were kept all the same")


OPERATIONS = (content_md5, wrong_md5, wrong_payload, kept_sha256, wrong_sha256, kept_crc32, wrong_crc32, trailer,
              wrong_trailer)  # fmt: skip
