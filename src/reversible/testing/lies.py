"""Which lies does a storage tell? Each is told by a real server, whose requests or answers are changed on the way.

One lie, one class: a test that a lie is caught names it, and a storage that does all of it otherwise stays honest.
"""

import re

from reversible.testing.proxy import Lie, Reply, Request

_DIGESTS = ("content-md5", "x-amz-checksum-", "x-amz-sdk-checksum", "x-amz-trailer")


def _plain(request: Request, body: bytes) -> Request:
    """The request with another body and no digest of the first one."""
    headers = {name: value for name, value in request.headers.items() if not name.startswith(_DIGESTS)}
    return Request(request.method, request.path, request.query, headers, body)


def _is_object(request: Request) -> bool:
    return request.method == "PUT" and set(request.query) <= {"partNumber", "uploadId"} and bool(request.body)


class DropsAByte(Lie):
    """Keeps all bytes of an object but the last."""

    def before(self, request: Request) -> Request | None:
        return _plain(request, request.body[:-1]) if _is_object(request) and len(request.body) > 1 else None


class IgnoresDigests(Lie):
    """Takes any bytes whatever digest came with them."""

    def before(self, request: Request) -> Request | None:
        return _plain(request, request.body) if _is_object(request) else None


class OtherMetadata(Lie):
    """Keeps all of each metadata value but its last character."""

    def before(self, request: Request) -> Request | None:
        if not any(name.startswith("x-amz-meta-") for name in request.headers):
            return None
        headers = {
            name: value[:-1] if name.startswith("x-amz-meta-") else value for name, value in request.headers.items()
        }
        return Request(request.method, request.path, request.query, headers, request.body)


class NoTags(Lie):
    """Takes tags, and forgets them."""

    def before(self, request: Request) -> Request | Reply | None:
        if request.method == "PUT" and "tagging" in request.query:
            return Reply(200, {}, b"")
        if "x-amz-tagging" not in request.headers:
            return None
        headers = {name: value for name, value in request.headers.items() if name != "x-amz-tagging"}
        return Request(request.method, request.path, request.query, headers, request.body)


class NoLock(Lie):
    """Answers 200 to a lock, and deletes all the same."""

    def before(self, request: Request) -> Request | Reply | None:
        headers = {name: value for name, value in request.headers.items() if not name.startswith("x-amz-object-lock-")}
        if headers == request.headers:
            return None
        return Request(request.method, request.path, request.query, headers, request.body)


class ShortLock(Lie):
    """Keeps a lock, and lets whoever holds the keys shorten it."""

    def before(self, request: Request) -> Request | Reply | None:
        return Reply(200, {}, b"") if request.method == "PUT" and "retention" in request.query else None


class IgnoresConditions(Lie):
    """Writes whatever If-None-Match and If-Match say."""

    def before(self, request: Request) -> Request | None:
        if request.method != "PUT" or not {"if-none-match", "if-match"} & set(request.headers):
            return None
        headers = {name: value for name, value in request.headers.items() if name not in ("if-none-match", "if-match")}
        return Request(request.method, request.path, request.query, headers, request.body)


class ShortRange(Lie):
    """Gives one byte less than a range has, with the right length."""

    def after(self, request: Request, reply: Reply) -> Reply:
        if request.method == "GET" and "range" in request.headers and reply.status == 206 and len(reply.body) > 1:
            reply.body = reply.body[:-1]
        return reply


class WholeForRange(Lie):
    """Gives the whole object, as a part."""

    def before(self, request: Request) -> Request | None:
        if request.method != "GET" or "range" not in request.headers:
            return None
        headers = {name: value for name, value in request.headers.items() if name != "range"}
        return Request(request.method, request.path, request.query, headers, request.body)

    def after(self, request: Request, reply: Reply) -> Reply:
        if request.method == "GET" and "range" in request.headers and reply.status == 200:
            reply.status = 206
        return reply


class LosesAPart(Lie):
    """Makes an object of all parts but the last."""

    def before(self, request: Request) -> Request | None:
        if request.method != "POST" or "uploadId" not in request.query:
            return None
        rows = re.findall(rb"<Part>.*?</Part>", request.body, re.DOTALL)
        if len(rows) < 2:
            return None
        return _plain(request, request.body.replace(rows[-1], b""))


class KeepsUploads(Lie):
    """Says that an unfinished upload is given up, and keeps it."""

    def before(self, request: Request) -> Reply | None:
        return Reply(204, {}, b"") if request.method == "DELETE" and "uploadId" in request.query else None


class LosesAName(Lie):
    """Leaves the last name out of every listing that is not empty."""

    def after(self, request: Request, reply: Reply) -> Reply:
        rows = re.findall(rb"<Contents>.*?</Contents>", reply.body, re.DOTALL)
        if "list-type" in request.query and rows:
            reply.body = reply.body.replace(rows[-1], b"")
        return reply


class RepeatsAPage(Lie):
    """Begins every page anew."""

    def before(self, request: Request) -> Request | None:
        if "continuation-token" not in request.query:
            return None
        query = {name: value for name, value in request.query.items() if name != "continuation-token"}
        return Request(request.method, request.path, query, request.headers, request.body)


class DeletesNothing(Lie):
    """Says that an object is deleted, and keeps it. (It keeps what lies below a probe, too: empty it yourself.)"""

    def before(self, request: Request) -> Reply | None:
        return Reply(204, {}, b"") if request.method == "DELETE" and not request.query else None


class LetsAnybodyIn(Lie):
    """Takes any signature: it signs with the owner's keys what comes."""

    def before(self, request: Request) -> Request | None:
        return _plain(request, request.body) if "X-Amz-Signature" not in request.query else None


class OneVersion(Lie):
    """Gives the newest version, whichever is asked for."""

    def before(self, request: Request) -> Request | None:
        if request.method != "GET" or "versionId" not in request.query:
            return None
        query = {name: value for name, value in request.query.items() if name != "versionId"}
        return Request(request.method, request.path, query, request.headers, request.body)


class HostOnly(Lie):
    """No lie, a habit: the bucket must be in the host's name, as AWS wants it of new ones."""

    def before(self, request: Request) -> Reply | None:
        if request.headers["host"].count(".") == 1:
            return None
        return Reply(301, {}, b"<Error><Code>PermanentRedirect</Code></Error>")


class ShortPages(Lie):
    """No lie, a habit: a listing comes in pages of three names, however many were asked for."""

    def before(self, request: Request) -> Request | None:
        if "list-type" not in request.query:
            return None
        return Request(request.method, request.path, {**request.query, "max-keys": "3"}, request.headers, request.body)
