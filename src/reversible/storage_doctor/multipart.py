"""Does a large object arrive in parts, each of them, in their order, and nothing of one that is given up?"""

import hashlib
from xml.sax.saxutils import escape

from reversible.s3 import Answer
from reversible.storage_doctor.bench import Bench, Note, lies, operation, refused
from reversible.storage_doctor.objects import source_of

_SMALLEST = 5 << 20  # READ (AWS, "Multipart upload limits"): of every part but the last
_MANY = 10_000  # the same: the last part number


def begin(bench: Bench, key: str, headers: dict[str, str] | None = None) -> str:
    """The id of a new upload."""
    return bench.ask("POST", key, query={"uploads": ""}, headers=headers).texts("UploadId")[0]


def send(bench: Bench, key: str, upload: str, number: int, body: bytes) -> str:
    """The ETag of a part."""
    answer = bench.ask("PUT", key, query={"partNumber": str(number), "uploadId": upload}, body=body)
    return answer.headers.get("etag", "")


def complete(bench: Bench, key: str, upload: str, parts: dict[int, str]) -> Answer:
    """The server's answer; an error may come with 200."""
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>" for number, etag in parts.items()
    )
    document = (
        f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}</CompleteMultipartUpload>'
    )
    answer = bench.client.send("POST", key, query={"uploadId": upload}, body=document.encode())
    if answer.ok and b"<Error>" in answer.body:
        return Answer(status=400, headers=answer.headers, body=answer.body)
    return answer


def _two(bench: Bench) -> tuple[str, bytes, bytes]:
    """An object of two parts, once: 5 MiB and a few bytes."""
    key = bench.key("multipart/two")
    if "two" not in bench.known:
        first, second = bench.content(_SMALLEST), bench.content(1_000)
        upload = begin(bench, key)
        parts = {1: send(bench, key, upload, 1, first), 2: send(bench, key, upload, 2, second)}
        answer = complete(bench, key, upload, parts)
        if not answer.ok:
            refused(answer)
        bench.known["two"] = (first, second, answer)
    first, second, _ = bench.known["two"]
    return key, first, second


@operation("multipart", "an object in parts is put and read back", need="transport")
def multipart(bench: Bench) -> None:
    key, first, second = _two(bench)
    answer = bench.same(key, first + second)
    etag = answer.headers.get("etag", "").strip('"')
    if etag == hashlib.md5(first + second, usedforsecurity=False).hexdigest():
        return  # some servers hash the whole: no lie
    bench.known["etag"] = etag


@operation("multipart.part", "one part of an object is read back")
def part(bench: Bench) -> None:
    key, first, second = _two(bench)
    for number, body in ((1, first), (2, second)):
        answer = bench.ask("GET", key, query={"partNumber": str(number)})
        if answer.body == first + second and number == 1:
            lies("part {number} was asked for, the whole object came", number=number)
        bench.equal(answer.body, body)


@operation("multipart.list", "the parts of an unfinished object are listed")
def list_parts(bench: Bench) -> None:
    key = bench.key("multipart/listed")
    upload = begin(bench, key)
    sent = {2: send(bench, key, upload, 2, bench.content(2_000)), 5: send(bench, key, upload, 5, bench.content(500))}
    answer = bench.ask("GET", key, query={"uploadId": upload})
    sizes = dict(zip(answer.texts("Part/PartNumber"), answer.texts("Part/Size"), strict=True))
    if sizes != {"2": "2000", "5": "500"} or len(sent) != 2:
        lies("parts 2 and 5 were sent, {said} are listed", said=", ".join(sizes) or "none")
    under = bench.ask("GET", query={"uploads": "", "prefix": key})
    if upload not in under.texts("Upload/UploadId"):
        lies("an upload that goes on is not listed")
    bench.ask("DELETE", key, query={"uploadId": upload})


@operation("multipart.abort", "an object that is given up leaves nothing")
def abort(bench: Bench) -> None:
    key = bench.key("multipart/aborted")
    upload = begin(bench, key)
    etag = send(bench, key, upload, 1, bench.content(1_000))
    bench.ask("DELETE", key, query={"uploadId": upload})
    bench.gone(key)
    if upload in bench.ask("GET", query={"uploads": "", "prefix": key}).texts("Upload/UploadId"):
        lies("an upload that was given up is still listed")
    bench.must_refuse(complete(bench, key, upload, {1: etag}), "an upload that was given up could be completed")


@operation("multipart.again", "a part that is sent again replaces the first")
def again(bench: Bench) -> None:
    key, body = bench.key("multipart/again"), bench.content(3_000)
    upload = begin(bench, key)
    send(bench, key, upload, 1, bench.content(2_000))
    answer = complete(bench, key, upload, {1: send(bench, key, upload, 1, body)})
    if not answer.ok:
        refused(answer)
    bench.same(key, body)


@operation("multipart.wrong", "parts that were never sent are refused")
def wrong(bench: Bench) -> None:
    key = bench.key("multipart/wrong")
    upload = begin(bench, key)
    etag = send(bench, key, upload, 1, bench.content(1_000))
    other = '"' + "0" * 32 + '"'
    for parts in ({1: other}, {1: etag, 2: other}):
        answer = complete(bench, key, upload, parts)
        bench.must_refuse(answer, "an object was made of parts that were never sent")


@operation("multipart.numbers", "how many parts an object may have")
def numbers(bench: Bench) -> Note:
    """The last part may have any size, and numbers may have gaps: one small part of each number tells."""
    answer = None
    for number in (_MANY, 1_001, 1_000):
        key, body = bench.key(f"multipart/number-{number}"), bench.content(1_000)
        upload = begin(bench, key)
        query = {"partNumber": str(number), "uploadId": upload}
        answer = bench.client.send("PUT", key, query=query, body=body)
        if not answer.ok:
            bench.client.send("DELETE", key, query={"uploadId": upload})
            continue
        answer = complete(bench, key, upload, {number: answer.headers.get("etag", "")})
        if not answer.ok:
            continue
        bench.same(key, body)
        return "parts up to number {number}", {"number": number}
    assert answer is not None  # noqa: S101 - three numbers were tried
    return refused(answer)


@operation("multipart.copy", "a part is copied at the server")
def copy_part(bench: Bench) -> None:
    source, target, body = bench.key("multipart/source"), bench.key("multipart/copied"), bench.content(50_000)
    bench.put(source, body)
    upload = begin(bench, target)
    headers = {"x-amz-copy-source": source_of(bench, source), "x-amz-copy-source-range": "bytes=1000-40999"}
    answer = bench.ask("PUT", target, query={"partNumber": "1", "uploadId": upload}, headers=headers)
    etags = answer.texts("ETag")
    answer = complete(bench, target, upload, {1: etags[0] if etags else ""})
    if not answer.ok:
        refused(answer)
    bench.same(target, body[1000:41000])


OPERATIONS = (multipart, part, list_parts, abort, again, wrong, numbers, copy_part)
