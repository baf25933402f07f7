"""Does an object come back as it was put, whole and in part, and is it gone when it is deleted?"""

import base64
import hashlib
from xml.sax.saxutils import escape

from reversible.s3 import Answer
from reversible.s3.signing import encoded_path
from reversible.storage_doctor.bench import Bench, lies, operation, refused


@operation("put", "an object is put and read back", need="transport")
def put(bench: Bench) -> None:
    key, body = bench.key("put"), bench.content()
    bench.put(key, body)
    bench.same(key, body)


@operation("head", "size and date of an object", need="transport")
def head(bench: Bench) -> None:
    key, body = bench.key("head"), bench.content(100)
    bench.put(key, body)
    answer = bench.ask("HEAD", key)
    if answer.headers.get("content-length") != "100":
        lies("100 bytes were sent, HEAD says {said}", said=answer.headers.get("content-length", "-"))
    if "last-modified" not in answer.headers:
        lies("HEAD gives no Last-Modified")


@operation("overwrite", "an object is replaced and read back", need="transport")
def overwrite(bench: Bench) -> None:
    key = bench.key("overwrite")
    for size in (64, 96, 32):
        body = bench.content(size)
        bench.put(key, body)
        bench.same(key, body)


@operation("empty", "an object without bytes", need="transport")
def empty(bench: Bench) -> None:
    key = bench.key("empty")
    bench.put(key, b"")
    bench.same(key, b"")


@operation("large", "an object of 6 MB in one piece", need="transport")
def large(bench: Bench) -> None:
    key, body = bench.key("large"), bench.content(6_000_001)
    bench.put(key, body)
    bench.same(key, body)


@operation("range", "a part of an object is read")
def ranges(bench: Bench) -> None:
    key, body = bench.key("range"), bench.content(100_000)
    bench.put(key, body)
    for text, expected in (("0-0", body[:1]), ("50000-50099", body[50_000:50_100]), ("99990-", body[99_990:]),
                           ("-7", body[-7:])):  # fmt: skip
        answer = bench.ask("GET", key, headers={"range": f"bytes={text}"})
        if answer.status != 206:
            lies("the range {range} is answered with {status}", range=text, status=answer.status)
        bench.equal(answer.body, expected)
        if text == "50000-50099" and answer.headers.get("content-range") != "bytes 50000-50099/100000":
            lies("the range {range} is called {said}", range=text, said=answer.headers.get("content-range", "-"))
    beyond = bench.client.send("GET", key, headers={"range": "bytes=100000-"})
    if beyond.status != 416:
        lies("the range {range} is answered with {status}", range="100000-", status=beyond.status)


@operation("conditional.get", "an object is read only if it changed, or only if it did not")
def conditional_get(bench: Bench) -> None:
    key = bench.key("conditional-get")
    etag = bench.put(key, bench.content()).headers.get("etag", "")
    seen = {
        "If-None-Match": (bench.client.send("GET", key, headers={"if-none-match": etag}).status, 304),
        "If-Match": (bench.client.send("GET", key, headers={"if-match": '"0123456789abcdef"'}).status, 412),
    }
    for name, (status, expected) in seen.items():
        if status != expected:
            lies("{name} is answered with {status}", name=name, status=status)


@operation("missing", "a key that is not there is said so", need="transport")
def missing(bench: Bench) -> None:
    answer = bench.client.send("GET", bench.key("missing"))
    if answer.ok:
        lies("a key that was never put is answered with 200")
    if answer.status != 404:
        refused(answer)


@operation("delete", "a deleted object is gone")
def delete(bench: Bench) -> None:
    key = bench.key("delete")
    bench.put(key, bench.content())
    bench.ask("DELETE", key)
    bench.gone(key)
    if key in bench.list_keys(bench.key("delete")):
        lies("a deleted object is still listed")


@operation("delete.many", "several objects are deleted at once")
def delete_many(bench: Bench) -> None:
    keys = [bench.key(f"delete-many/{name}") for name in ("a", "b & c", "é")]
    for key in keys:
        bench.put(key, bench.content())
    kept = bench.key("delete-many/kept")
    body = bench.content()
    bench.put(kept, body)
    rows = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    answer = delete_all(bench, rows)
    if answer.texts("Error/Key"):
        lies("{error} for an object of ours", error=(answer.texts("Error/Code") or ["?"])[0])
    for key in keys:
        bench.gone(key)
    bench.same(kept, body)


def delete_all(bench: Bench, rows: str) -> Answer:
    """POST ?delete, with the digest that AWS requires."""
    document = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}</Delete>'.encode()
    digest = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode()
    headers = {"content-md5": digest, "content-type": "application/xml"}
    return bench.ask("POST", query={"delete": ""}, headers=headers, body=document)


@operation("copy", "an object is copied at the server")
def copy(bench: Bench) -> None:
    source, target, body = bench.key("copy/source é"), bench.key("copy/target"), bench.content(70_000)
    bench.put(source, body, {"x-amz-meta-kind": "first", "content-type": "text/x-first"})
    answer = bench.ask("PUT", target, headers={"x-amz-copy-source": source_of(bench, source)})
    if b"<Error>" in answer.body:  # READ (AWS, CopyObject): an error may come with 200
        refused(answer)
    if bench.same(target, body).headers.get("x-amz-meta-kind") != "first":
        lies("the copy has lost its metadata")


@operation("copy.replace", "a copy is given other metadata")
def copy_replace(bench: Bench) -> None:
    source, target, body = bench.key("copy-replace/source"), bench.key("copy-replace/target"), bench.content()
    bench.put(source, body, {"x-amz-meta-kind": "first"})
    headers = {"x-amz-copy-source": source_of(bench, source), "x-amz-metadata-directive": "REPLACE",
               "x-amz-meta-kind": "second"}  # fmt: skip
    bench.ask("PUT", target, headers=headers)
    if bench.same(target, body).headers.get("x-amz-meta-kind") != "second":
        lies("the copy has kept the old metadata")


def source_of(bench: Bench, key: str) -> str:
    """What names the source of a copy."""
    return encoded_path(f"/{bench.client.bucket}/{key}")


OPERATIONS = (put, head, overwrite, empty, large, ranges, conditional_get, missing, delete, delete_many, copy,
              copy_replace)  # fmt: skip
