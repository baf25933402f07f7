"""Which names does the fenced command ask for?"""

import socket
from pathlib import Path


def name_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The addresses that the host's resolver asks, in order; the resolver's own default when none is named."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        fields = line.split()
        if len(fields) >= 2 and fields[0] == "nameserver" and _is_address(fields[1]):
            found.append(fields[1])
    return tuple(dict.fromkeys(found)) or ("127.0.0.1",)


def question(packet: bytes) -> str:
    """The name that a DNS query asks for (RFC 1035 section 4.1.2), with what cannot be read said in its place."""
    labels = []
    place = 12
    try:
        while size := packet[place]:
            if size > 63:
                return "(unreadable query)"
            labels.append(packet[place + 1 : place + 1 + size].decode("ascii", "backslashreplace"))
            place += 1 + size
    except IndexError:
        return "(unreadable query)"
    return ".".join(labels).lower() or "."


def no_such_name(packet: bytes) -> bytes:
    """The answer NXDOMAIN, authoritative for nothing: QR, RD and RA set, code 3 (RFC 1035 section 4.1.1)."""
    end = 12
    while end < len(packet) and packet[end]:
        end += 1 + packet[end]
    return packet[:2] + b"\x81\x83" + b"\0\1\0\0\0\0\0\0" + packet[12 : end + 5]


def _is_address(text: str) -> bool:
    """Whether it is a plain address: one with a zone ("fe80::1%eth0") has no sinkhole and is refused as it stands."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False
