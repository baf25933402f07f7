"""What does our code do when the server in front of it lies, breaks off, refuses, or changes bytes on the way?

A real HTTP proxy on loopback, in front of a real server. Signatures stay valid: the Host header passes unchanged.
"""

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Kind = Literal["flip-request", "flip-answer", "truncate", "refuse", "old-server", "silence"]
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}


@dataclass
class Fault:
    """What to do to which requests.

    flip-request, flip-answer: change one bit in the middle of the body. truncate: half the answer, then a reset.
    refuse: 403 AccessDenied. old-server: 411 to any request that carries a checksum of the newer kind.
    silence: never answer.
    """

    kind: Kind
    method: str = ""  # "" for any
    path: str = ""  # part of the path and query, as sent
    times: int = 1 << 30
    done: int = field(default=0, init=False)  # how often it was inflicted


class FaultyProxy:
    """Stands before `target` (http://host:port) from `with` to the end of the block; set `fault` at any time."""

    def __init__(self, target: str, fault: Fault | None = None) -> None:
        self.target = urlsplit(target).netloc
        self.fault = fault
        self.requests: list[str] = []  # "GET /bucket/key"
        self.lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.owner.target, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
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
