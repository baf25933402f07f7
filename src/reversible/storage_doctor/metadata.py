"""Does all that is said about an object come back with it?"""

from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import quote
from xml.sax.saxutils import escape

from reversible.storage_doctor.bench import Bench, Note, lies, operation

_CONTENT = {
    "content-type": "application/vnd.reversible.test; charset=utf-8", "cache-control": "private, max-age=60",
    "content-disposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%A9t%C3%A9.txt",
    "content-encoding": "x-test", "content-language": "fr, en", "expires": "Wed, 21 Oct 2037 07:28:00 GMT",
}  # fmt: skip
_TAGS = {"level": "high", "client id": "a+b=c:d/e@f"}


@operation("metadata", "metadata of an object come back")
def metadata(bench: Bench) -> None:
    given = {"author": "A. Lovelace", "edition-2": "1", "list": "x; y, z=1"}
    _sent(bench, "metadata", {f"x-amz-meta-{name}": value for name, value in given.items()})


@operation("metadata.names", "metadata whose names have dots and underscores come back")
def metadata_names(bench: Bench) -> None:
    _sent(bench, "metadata-names", {"x-amz-meta-with.dots": "1", "x-amz-meta-with_underscores": "2"})


@operation("metadata.unicode", "metadata outside ASCII come back")
def metadata_unicode(bench: Bench) -> Note | None:
    return _sent(bench, "metadata-unicode", {"x-amz-meta-author": "Zoé Müller", "x-amz-meta-price": "3 €"})


@operation("metadata.size", "2,000 bytes of metadata come back")
def metadata_size(bench: Bench) -> None:
    _sent(bench, "metadata-size", {f"x-amz-meta-n{number}": f"{number}" * 92 for number in range(1, 10)} | {
        f"x-amz-meta-m{number}": f"{number}" * 92 for number in range(1, 10)})  # fmt: skip


@operation("content.headers", "type, encoding, language, name and expiry of an object come back")
def content_headers(bench: Bench) -> None:
    _sent(bench, "content-headers", _CONTENT)


def _sent(bench: Bench, name: str, headers: dict[str, str]) -> Note | None:
    key, body = bench.key(name), bench.content()
    bench.put(key, body, headers)
    encoded = False
    for method in ("GET", "HEAD"):
        answer = bench.ask(method, key)
        for header, value in headers.items():
            came = answer.headers.get(header)
            if came != value and came is not None and decoded(came) == value:
                encoded = True
            elif came != value:
                lies("{header}: {sent} was sent, {came} came back", header=header, sent=value, came=came or "nothing")
        if method == "GET":
            bench.equal(answer.body, body)
    return ("they come back as RFC 2047 words", {}) if encoded else None


def decoded(text: str) -> str:
    """RFC 2047 words as text; READ (AWS, "Working with object metadata"): so S3 gives what is not US-ASCII."""
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, UnicodeError):
        return text


@operation("tags", "tags of an object come back")
def tags(bench: Bench) -> None:
    key, body = bench.key("tags"), bench.content()
    bench.put(key, body, {"x-amz-tagging": _query(_TAGS)})
    _tagged(bench, key, _TAGS)
    other = {"level": "low"}
    bench.ask("PUT", key, query={"tagging": ""}, body=_tagging(other))
    _tagged(bench, key, other)
    bench.same(key, body)


@operation("tags.delete", "tags of an object are taken off")
def tags_delete(bench: Bench) -> None:
    key, body = bench.key("tags-delete"), bench.content()
    bench.put(key, body, {"x-amz-tagging": _query(_TAGS)})
    bench.ask("DELETE", key, query={"tagging": ""})
    _tagged(bench, key, {})
    bench.same(key, body)


@operation("tags.unicode", "tags outside ASCII come back")
def tags_unicode(bench: Bench) -> None:
    key, given = bench.key("tags-unicode"), {"rôle": "été"}
    bench.put(key, bench.content(), {"x-amz-tagging": _query(given)})
    _tagged(bench, key, given)


def _query(pairs: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs.items())


def _tagging(pairs: dict[str, str]) -> bytes:
    rows = "".join(
        f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>" for name, value in pairs.items()
    )
    return f'<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>{rows}</TagSet></Tagging>'.encode()


def _tagged(bench: Bench, key: str, expected: dict[str, str]) -> None:
    answer = bench.ask("GET", key, query={"tagging": ""})
    found = dict(zip(answer.texts("TagSet/Tag/Key"), answer.texts("TagSet/Tag/Value"), strict=True))
    if found != expected:
        same = len(found.items() & expected.items())
        lies(
            "{sent} tags should be there, {came} are, {same} of them as they were sent",
            sent=len(expected), came=len(found), same=same,
        )  # fmt: skip


OPERATIONS = (
    metadata,
    metadata_names,
    metadata_unicode,
    metadata_size,
    content_headers,
    tags,
    tags_unicode,
    tags_delete,
)
