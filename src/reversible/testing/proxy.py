"""What does our code do when the server in front of it lies, breaks off, refuses, or changes bytes on the way?

A real HTTP proxy on loopback, in front of a real server. Signatures stay valid: the Host header passes unchanged, and
a request that a lie changes is signed again (`lies.py`): so a real server can be made to do other than it was told.
"""

import hashlib
import http.client
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from reversible.s3 import Keys, signing

Kind = Literal["flip-request", "flip-answer", "truncate", "refuse", "old-server", "silence", "lie"]
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}


@dataclass
class Request:
    """A request as a lie sees it; header names are in lower case, `path` and `query` are decoded."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """An answer as a lie sees it; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Lie:
    """What a server does instead: before it acts, and when it answers. Keeps what it needs to stick to the lie."""

    def before(self, request: Request) -> Request | Reply | None:
        """Another request for the server, an answer without it, or None: as it is."""
        return None

    def after(self, request: Request, reply: Reply) -> Reply:
        """The answer to the request as the client sent it."""
        return reply


@dataclass
class Fault:
    """What to do to which requests.

    flip-request, flip-answer: change one bit in the middle of the body. truncate: half the answer, then a reset.
    refuse: 403 AccessDenied. old-server: 411 to any request that carries a checksum of the newer kind.
    silence: never answer. lie: what `lie` says.
    """

    kind: Kind
    method: str = ""  # "" for any
    path: str = ""  # part of the path and query, as sent
    times: int = 1 << 30
    lie: Lie | None = None
    done: int = field(default=0, init=False)  # how often it was inflicted


class FaultyProxy:
    """Stands before `target` (http://host:port) from `with` to the end of the block; set `fault` at any time.

    Args:
        sign: Keys and region, for lies that change a request.
    """

    def __init__(self, target: str, fault: Fault | None = None, *, sign: tuple[Keys, str] | None = None) -> None:
        self.target = urlsplit(target).netloc
        self.sign = sign
        self.fault = fault
        self.requests: list[str] = []  # "GET /bucket/key"
        self.lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def chosen(self, method: str, path: str, headers: Any) -> Fault | None:
        """The fault that this request must suffer."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            fault = self.fault
            if fault is None or fault.done >= fault.times or fault.path not in path:
                return None
            if fault.method not in ("", method):
                return None
            newer = any("checksum" in name.lower() or "trailer" in name.lower() for name in headers)
            if fault.kind == "old-server" and not newer:
                return None
            fault.done += 1
            return fault


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed, or went away, is no fault of ours; the rest is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    owner: FaultyProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _pass(self) -> None:
        body = b"".join(self._body())
        fault = self.owner.chosen(self.command, self.path, self.headers)
        kind = fault.kind if fault else None
        if kind == "silence":
            threading.Event().wait(600)
        if kind in ("refuse", "old-server"):
            status, code = (403, "AccessDenied") if kind == "refuse" else (411, "MissingContentLength")
            self._answer(status, {"Content-Type": "application/xml"}, f"<Error><Code>{code}</Code></Error>".encode())
            return
        if kind == "lie" and fault is not None and fault.lie is not None:
            reply = self._lie(fault.lie, body)
            self._answer(reply.status, reply.headers, reply.body)
            return
        status, headers, answer = self._forward(_flipped(body) if kind == "flip-request" else body)
        if kind == "flip-answer" and status < 300:
            answer = _flipped(answer)
        self._answer(status, headers, answer, cut=kind == "truncate")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 - the names that http.server calls

    def handle_expect_100(self) -> bool:
        """The client waits a second for these words: send them now."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _body(self) -> Iterator[bytes]:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _lie(self, lie: Lie, body: bytes) -> Reply:
        """The real server's answer to what the lie makes of the request, and what the lie makes of that."""
        address = urlsplit(self.path)
        request = Request(
            self.command, unquote(address.path), dict(parse_qsl(address.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()}, body,
        )  # fmt: skip
        changed = lie.before(request)
        if isinstance(changed, Reply):
            return changed
        if changed is None:
            status, headers, content = self._forward(body)
        else:
            status, headers, content = self._forward(changed.body, self._signed(changed))
        return lie.after(request, Reply(status, {name.lower(): value for name, value in headers.items()}, content))

    def _signed(self, request: Request) -> tuple[str, dict[str, str]]:
        """The changed request's target and headers, as if its client had sent them."""
        assert self.owner.sign is not None  # noqa: S101 - such lies need it
        keys, region = self.owner.sign
        dropped = {"authorization", "host", "x-amz-date", "x-amz-content-sha256", "content-length", "expect", *_HOP}
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        host = self.headers["Host"]
        headers |= signing.signed(
            method=request.method, host=host, path=request.path, query=request.query, headers=headers,
            payload=hashlib.sha256(request.body).hexdigest(), keys=keys, region=region, at=datetime.now(UTC),
        )  # fmt: skip
        query = signing.encoded_query(request.query)
        return signing.encoded_path(request.path) + (f"?{query}" if query else ""), {**headers, "host": host}

    def _forward(
        self, body: bytes, instead: tuple[str, dict[str, str]] | None = None
    ) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        target, sent = instead or (self.path, dict(self.headers.items()))
        connection = http.client.HTTPConnection(self.owner.target, timeout=60)
        connection.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if name.lower() not in {*_HOP, "expect", "content-length"}:
                connection.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        return answer.status, headers, content

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
        if self.command != "HEAD" and status not in (204, 304):
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            headers["Content-Length"] = str(len(body))
        with suppress(OSError):
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
        if cut:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _flipped(body: bytes) -> bytes:
    """One bit in the middle is the other one."""
    if not body:
        return body
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
