"""Where does the model answer? `GET /ping` and `POST /invocations`, as the vendor's container did."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from reversible import wire
from reversible.errors import BundleError, DestinationError
from reversible.serving.model import ServedModel

_LARGEST = 64 << 20  # bytes of one request; SageMaker takes 25 MiB
_WAIT_S = 60.0  # for a client that stops in the middle of its request


class ModelServer:
    """A model on a port, from `with` to the end of the block.

    Args:
        model: What answers.
        host: The address to listen on; only this machine reaches the default.
        port: 0: any that is free.
    """

    def __init__(self, model: ServedModel, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._model, self._host, self._port = model, host, port

    @property
    def url(self) -> str:
        """`http://host:port`."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}"

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            DestinationError: the port is taken, or the address is not of this machine.
        """
        try:
            self._server = _Server((self._host, self._port), _handler(self._model))
        except OSError as error:
            raise DestinationError(
                f"{self._host}:{self._port}: {error.strerror or error}",
                hint="reversible serve … --port 0 takes a free one",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="reversible-serve", daemon=True)
        self._thread.start()
        return self

    def wait(self) -> None:
        """Until the process is interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)  # in slices: a join without an end is not interrupted on every platform

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        import socket

        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def _handler(model: ServedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "reversible", ""
        disable_nagle_algorithm = True  # without this and a write buffer every answer waits 40 ms
        wbufsize = 1 << 16
        timeout = _WAIT_S

        def log_message(self, *_: object) -> None:
            """Say nothing: a request may hold personal data."""

        def do_GET(self) -> None:  # the name that http.server calls
            self._send(200 if self.path == "/ping" else 404, b"\n", "text/plain")

        def do_POST(self) -> None:
            try:
                size = int(self.headers.get("Content-Length", ""))
            except ValueError:
                size = -1
            if not 0 <= size <= _LARGEST:
                self.close_connection = True
                return self._send(411 if size < 0 else 413, b"Content-Length: 0 to 64 MiB\n", "text/plain")
            body = self.rfile.read(size)
            if self.path != "/invocations":
                return self._send(404, b"POST /invocations\n", "text/plain")
            kind = self.headers.get("Content-Type") or wire.JSON
            try:
                answers = model.answer(wire.decode(body, kind, model.inputs))
                return self._send(200, *wire.encode(answers, self.headers.get("Accept") or wire.JSON, bare=model.bare))
            except wire.UnknownTypeError:
                return self._send(415, b"application/json, text/csv or application/x-npy\n", "text/plain")
            except (wire.RequestError, BundleError) as error:
                return self._send(400, f"{error}\n".encode("utf-8", "replace"), "text/plain; charset=utf-8")

        def _send(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
