"""Is the way to the source really cut, seen from inside?

A canary tries what must fail: the source's own addresses. A control tries what must work. A fence that lets a
canary out is none; one that stops the control as well shows only that networking is broken.
"""

import json
import socket
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

# Marks the end of the canaries in the fence's log; on the loopback, so that nothing leaves where no fence holds.
MARK = ("127.255.0.1", 1)
_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Canary:
    """One thing that was tried. `expected` are the attempts that an honest log must show: [protocol, host, port]."""

    target: str
    control: bool
    reached: bool
    answer: str
    expected: tuple[tuple[str, str, int], ...]


def split(endpoint: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port".

    Raises:
        ValueError: it is neither.
    """
    host, _, port = endpoint.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"not host:port: {endpoint!r}")
    return host, int(port)


def fly(sources: Iterable[str], control: str, note: Callable[[Canary], None]) -> None:
    """Try every source, then the control, then set the mark."""
    for target in sources:
        note(_try_source(target))
    if control:
        note(_try_control(control))
    _connect(*MARK)


def to_json(canary: Canary) -> str:
    return json.dumps({"event": "canary", **asdict(canary)})


def _try_source(target: str) -> Canary:
    host, port = split(target)
    expected: list[tuple[str, str, int]] = []
    if is_address(host):
        addresses = [host]
    else:
        try:
            # the final dot keeps the resolver from adding its search domains: one question, one line in the log
            found = socket.getaddrinfo(f"{host.rstrip('.')}.", None, type=socket.SOCK_STREAM)
        except OSError as error:
            return Canary(target, False, False, str(error), (("dns", host.rstrip(".").lower(), 53),))
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))  # a hosts file knows it
    answers = []
    reached = False
    for address in addresses:
        works, answer = _connect(address, port)
        reached = reached or works
        answers.append(answer)
        expected.append(("tcp", address, port))
    return Canary(target, False, reached, "; ".join(answers), tuple(expected))


def _try_control(target: str) -> Canary:
    host, port = split(target)
    works, answer = _connect(host, port, read=True)
    return Canary(target, True, works, answer, (("tcp", host, port),))


def _connect(host: str, port: int, *, read: bool = False) -> tuple[bool, str]:
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection:
            return True, connection.makefile("r").readline().strip() if read else "connected"
    except (OSError, ValueError) as error:
        return False, str(error)


def is_address(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address and not a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False
