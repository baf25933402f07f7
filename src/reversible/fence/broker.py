"""How does an allowed connection leave the fence?

The listener is inside, this side accepts on it and connects outside: the command never holds a socket of the
outer network.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_BLOCK = 1 << 18  # bytes


class Broker:
    """Carries the connections of one allowed endpoint, each by two threads."""

    def __init__(self, listener: socket.socket, endpoint: tuple[str, int], *, failed: Callable[[str], None]) -> None:
        self.listener = listener
        self._endpoint = endpoint
        self._failed = failed
        self._open: list[socket.socket] = []

    def accept(self) -> None:
        """Take one waiting connection; to be called when the listener is readable."""
        try:
            inner, _ = self.listener.accept()
        except OSError:  # gone before we looked
            return
        inner.settimeout(None)
        self._open.append(inner)
        threading.Thread(target=self._carry, args=(inner,), daemon=True).start()

    def close(self) -> None:
        for one in (self.listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _carry(self, inner: socket.socket) -> None:
        host, port = self._endpoint
        try:
            outer = socket.create_connection(self._endpoint, timeout=10)
        except OSError as error:
            self._failed(f"the allowed endpoint {host}:{port} did not answer: {error}")
            inner.close()
            return
        outer.settimeout(None)
        self._open.append(outer)
        back = threading.Thread(target=_pump, args=(outer, inner), daemon=True)
        back.start()
        _pump(inner, outer)
        back.join()
        inner.close()
        outer.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # either end may go away at any time: the other one learns it by the shutdown
        while block := source.recv(_BLOCK):
            sink.sendall(block)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
