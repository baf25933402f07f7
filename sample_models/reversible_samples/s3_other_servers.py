"""Which other makes of S3 storage does a European provider run? Two, started for tests, that no wheel of ours brings.

`Swift` is OpenStack's object storage with its S3 interface, from PyPI, in an environment of its own: OVHcloud's and
Infomaniak's older storage. `Ceph` is its RADOS gateway, from Debian's packages: what most European providers run.
Both listen on loopback only, need no root, and keep little.
"""

import socket
from pathlib import Path

from reversible.errors import MissingSDKError
from reversible_samples.s3_servers import S3Server, free_ports

CEPH_PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool")
_HERE = Path(__file__).parent


class Swift(S3Server):
    """OpenStack Swift with s3api: one process for each of its four servers.

    Args:
        python: Of an environment that has the package `swift`.
    """

    program = "swift"

    def __init__(self, folder: Path, *, python: Path, region: str = "eu-local") -> None:
        super().__init__(folder, region=region)
        self._python = python
        self.access_key = f"eu:{self.access_key}"  # account:user

    def _executable(self) -> Path:
        return self._python

    def _command(self) -> tuple[list[str], dict[str, str]]:
        ports = free_ports(4)
        self._port = ports[0]
        _, _, user = self.access_key.partition(":")
        keys = {"SWIFT_USER": user, "SWIFT_KEY": self.secret_key}
        return [str(_HERE / "swift_process.py"), str(self.folder), self.region, *map(str, ports)], keys


class Ceph(S3Server):
    """A Ceph cluster of one monitor, one disk in memory and one RADOS gateway."""

    program = "radosgw"
    start_s = 120.0

    def __init__(self, folder: Path, *, region: str = "default") -> None:
        super().__init__(folder, region=region)

    def _executable(self) -> Path:
        from shutil import which

        if not all(which(one) for one in CEPH_PROGRAMS):
            raise MissingSDKError("radosgw (Debian: ceph-mon ceph-osd radosgw ceph-common)", extra="dev")
        return Path("/bin/bash")

    def _command(self) -> tuple[list[str], dict[str, str]]:
        first = _three_in_a_row()
        self._port = first
        keys = {"CEPH_ACCESS": self.access_key, "CEPH_SECRET": self.secret_key}
        return [str(_HERE / "ceph_process.sh"), str(self.folder), str(first)], keys


def _three_in_a_row() -> int:
    """The first of three ports that nobody listens on: the script counts on."""
    for first in range(24_000, 32_000, 4):
        held: list[socket.socket] = []
        try:
            for port in range(first, first + 3):
                one = socket.socket()
                held.append(one)
                one.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for one in held:
                one.close()
    raise OSError("no three free ports in a row")
