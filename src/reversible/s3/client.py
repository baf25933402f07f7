"""What does the server answer, to exactly this request?

Requests go out as they are given, byte for byte, and answers come back as they are: nothing is normalised, followed
or repaired, so that a test can ask a server anything. What the network breaks is tried again.
"""

import hashlib
import http.client
import random
import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from reversible.errors import DestinationError
from reversible.s3 import signing
from reversible.s3.signing import Keys

ATTEMPTS = 4
BUSY = frozenset({429, 500, 502, 503, 504})  # "come again": SlowDown, InternalError, a gateway's
_PAUSE_S = 0.2  # before the second attempt, and twice as long before each next one
_TEXT_LIMIT = 32 << 20  # bytes of an answer that is read whole; a listing page has under 2 MB
_IDLE = 16  # connections kept


class UnreachableError(DestinationError):
    """The server did not answer: no route, no trust, no word in time, or a broken line.

    `final`: another attempt would not help.
    """

    def __init__(self, message: str, *, hint: str = "", final: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.final = final


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer. Header names are in lower case; values are UTF-8 where they can be."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The S3 error code, "NoSuchKey"; the HTTP status where the body has none."""
        found = re.search(rb"<Code>([A-Za-z0-9._-]{1,80})</Code>", self.body[:8192])
        return found[1].decode() if found else str(self.status)

    @property
    def message(self) -> str:
        """The server's own words, on one line, without control characters: they go to a terminal."""
        found = re.search(rb"<Message>(.{1,500}?)</Message>", self.body[:8192], re.DOTALL)
        return printable(" ".join(found[1].decode(errors="replace").split())) if found else ""

    def xml(self) -> ElementTree.Element:
        """The body without namespaces.

        Raises:
            ValueError: it is no XML.
        """
        try:
            root = ElementTree.fromstring(self.body)  # noqa: S314 - expat expands no external entity, and bounds others
        except ElementTree.ParseError as error:
            raise ValueError(f"an answer is no XML: {error}") from error
        for one in root.iter():
            one.tag = one.tag.rpartition("}")[2]
        return root

    def texts(self, path: str) -> list[str]:
        """The text of every element at `path` ("Contents/Key"), in order."""
        return [one.text or "" for one in self.xml().iterfind(path)]


@dataclass(frozen=True, kw_only=True)
class Client:
    """Speaks to one bucket at one endpoint.

    Attributes:
        endpoint_url: Scheme and host, no path.
        region: What requests are signed for.
        keys: Who signs; None for nobody.
        virtual: The bucket is part of the host name, not of the path.
        tls: Whom to trust, for https.
        timeout_s: For each single wait on the network.
        now: The clock.
        watch: Told of every attempt, with the bytes of its body; may raise.
    """

    endpoint_url: str
    bucket: str
    region: str
    keys: Keys | None
    virtual: bool = False
    tls: ssl.SSLContext | None = None
    timeout_s: float = 60.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    watch: Callable[[int], None] = lambda _: None
    _idle: list[http.client.HTTPConnection] = field(default_factory=list, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def host(self) -> str:
        """As the Host header says it."""
        netloc = urlsplit(self.endpoint_url).netloc
        return f"{self.bucket}.{netloc}" if self.virtual else netloc

    def path(self, key: str) -> str:
        """The path of a key, or of the bucket, before it is encoded."""
        return f"/{key}" if self.virtual else f"/{self.bucket}/{key}" if key else f"/{self.bucket}"

    def send(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        payload: str | None = None,
        chunked: bool = False,
    ) -> Answer:
        """Ask, and read the whole answer.

        Args:
            payload: What the signature says of the body, where that is not its SHA-256.
            chunked: Send the body in chunks, without its length.

        Raises:
            UnreachableError: no answer came.
        """
        with self.open(
            method, key, query=query, headers=headers, body=body, payload=payload, chunked=chunked
        ) as (answer, blocks):  # fmt: skip
            content = b"".join(blocks(_TEXT_LIMIT))
            return Answer(status=answer.status, headers=answer.headers, body=content)

    @contextmanager
    def open(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        payload: str | None = None,
        chunked: bool = False,
    ) -> Iterator[tuple[Answer, Callable[[int], Iterable[bytes]]]]:
        """Ask; the answer has no body yet, and `blocks(limit)` reads it, at most `limit` bytes.

        Raises:
            UnreachableError: no answer came, or its body broke off.
        """
        query, headers = query or {}, {name.lower(): value for name, value in (headers or {}).items()}
        if body and payload is None:
            payload = hashlib.sha256(body).hexdigest()
        connection, response = self._asked(method, key, query, headers, body, payload or signing.EMPTY, chunked)
        finished = False

        def blocks(limit: int) -> Iterator[bytes]:
            nonlocal finished
            left = limit
            with self._meaning():
                while block := response.read(1 << 20):
                    left -= len(block)
                    if left < 0:
                        raise UnreachableError(f"{self.endpoint_url}: an answer has over {limit} bytes")
                    yield block
                if response.length:  # http.client takes a line that ends too early for the end of the body
                    raise http.client.IncompleteRead(b"", response.length)
            finished = True

        try:
            yield Answer(status=response.status, headers=_headers(response), body=b""), blocks
        finally:
            if finished and not response.will_close:
                self._keep(connection)
            else:
                response.close()
                connection.close()

    def presigned(self, method: str, key: str, *, expires_s: int = 300, at: datetime | None = None) -> dict[str, str]:
        """The query that lets anybody send this one request, until it expires."""
        assert self.keys is not None  # noqa: S101 - nobody cannot sign
        return signing.presigned(
            method=method, host=self.host, path=self.path(key), keys=self.keys, region=self.region,
            at=at or self.now(), expires_s=expires_s,
        )  # fmt: skip

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def __del__(self) -> None:
        self.close()

    # --- helpers ------------------------------------------------------------------------------------------------

    def _asked(
        self, method: str, key: str, query: Mapping[str, str], headers: dict[str, str], body: bytes, payload: str,
        chunked: bool,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:  # fmt: skip
        """The connection and its answer, after as many attempts as it takes."""
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            self.watch(len(body))
            connection = self._connection()
            fresh = connection.sock is None
            try:
                with self._meaning():
                    response = self._attempt(connection, method, key, query, headers, body, payload, chunked)
                    if response.status not in BUSY or last:
                        return connection, response
                    response.close()
                connection.close()
            except UnreachableError as error:
                connection.close()
                if last or error.final:
                    raise
                if not fresh:
                    continue  # an idle line that the server had closed
            except BaseException:
                connection.close()
                raise
            time.sleep(_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        raise AssertionError("unreachable: the last attempt returned or raised")

    def _attempt(
        self, connection: http.client.HTTPConnection, method: str, key: str, query: Mapping[str, str],
        headers: dict[str, str], body: bytes, payload: str, chunked: bool,
    ) -> http.client.HTTPResponse:  # fmt: skip
        path = self.path(key)
        every = dict(headers)
        if self.keys is not None and "X-Amz-Signature" not in query:
            every |= signing.signed(
                method=method, host=self.host, path=path, query=query, headers=headers, payload=payload,
                keys=self.keys, region=self.region, at=self.now(),
            )  # fmt: skip
        target = signing.encoded_path(path) + (f"?{signing.encoded_query(query)}" if query else "")
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", self.host)
        for name, value in every.items():
            connection.putheader(name, value.encode())
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(iter([body]), encode_chunked=True)
        else:
            if body or method in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            if body:
                with suppress(BrokenPipeError, ConnectionResetError):  # it may have refused already: read its answer
                    connection.send(body)
        return connection.getresponse()

    def _connection(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        address = urlsplit(self.endpoint_url)
        host = f"{self.bucket}.{address.hostname}" if self.virtual else str(address.hostname)
        if address.scheme == "https":
            if (proxy := _proxy(host)) is not None:
                through = http.client.HTTPSConnection(
                    proxy[0], proxy[1], timeout=self.timeout_s, context=self.tls
                )  # fmt: skip
                through.set_tunnel(host, address.port or 443)
                return through
            return http.client.HTTPSConnection(host, address.port, timeout=self.timeout_s, context=self.tls)
        return http.client.HTTPConnection(host, address.port, timeout=self.timeout_s)

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def _meaning(self) -> Iterator[None]:
        """The network's errors in one line."""
        where = f"{urlsplit(self.endpoint_url).scheme}://{self.host}"
        look = f"curl -sSI {self.endpoint_url}"
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise UnreachableError(
                f"{where}: its certificate is not trusted: {error.verify_message}",
                hint="name its authority: ca_bundle in [destination.storage], or export AWS_CA_BUNDLE=FILE",
                final=True,
            ) from error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise UnreachableError(f"{where}: the connection broke off", hint=look) from error
        except ssl.SSLError as error:
            raise UnreachableError(f"{where}: TLS failed: {error.reason or error}", hint=look, final=True) from error
        except socket.gaierror as error:
            raise UnreachableError(
                f"{where} cannot be reached: its name is not known", hint=look, final=True
            ) from error  # fmt: skip
        except TimeoutError as error:
            raise UnreachableError(
                f"{where} does not answer in {self.timeout_s:.0f} s", hint=look, final=True
            ) from error  # fmt: skip
        except (http.client.HTTPException, ValueError) as error:
            raise UnreachableError(
                f"{where}: not an HTTP answer, or a broken one: {type(error).__name__}", hint=look
            ) from error  # fmt: skip
        except OSError as error:
            raise UnreachableError(f"{where} cannot be reached: {error.strerror or error}", hint=look) from error


def printable(text: str) -> str:
    """The text with a "?" for each character that could move a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _proxy(host: str) -> tuple[str, int] | None:
    """Host and port of HTTPS_PROXY, unless NO_PROXY excepts the host: as the customer's other clients go."""
    found = urlsplit(urllib.request.getproxies_environment().get("https", ""))
    if not found.hostname or urllib.request.proxy_bypass(host):
        return None
    return found.hostname, found.port or 80


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    """http.client reads them as Latin-1: give back UTF-8 where that is what was sent."""
    found: dict[str, Any] = {}
    for name, value in response.getheaders():
        with suppress(UnicodeError):
            value = value.encode("latin-1").decode("utf-8")
        found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
    return found
