"""A second host for the tests: a real sshd, with its own host key and user key, in a network namespace made here.

It has one address, on a virtual cable to this machine, and no route to anything else: the vendor's addresses on this
machine's loopback do not exist there. Its firmware strings and its metadata service are made up, by root.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = "/usr/sbin/sshd"
NEEDED = "REVERSIBLE_TESTS_NEED_SSHD"  # .ci/run sets it: there a test that cannot run has failed

_METADATA = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = json.load(open(sys.argv[1])).get(self.path)
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write((found or "").encode())
    def log_message(self, *_): pass
import threading
servers = [http.server.ThreadingHTTPServer((address, 80), Handler) for address in ("169.254.42.42", "169.254.169.254")]
for one in servers[1:]:
    threading.Thread(target=one.serve_forever, daemon=True).start()
servers[0].serve_forever()
"""

# A line that is cut after so many bytes: the first number in the file, which is taken away; without one it holds.
_RELAY = """
import os, socket, sys, threading
from pathlib import Path
cuts = Path(sys.argv[2])
numbers = cuts.read_text().split() if cuts.exists() else []
left = int(numbers[0]) if numbers else 1 << 60
cuts.write_text(" ".join(numbers[1:]))
line = socket.create_connection((sys.argv[1], 2222))
def back():
    while block := line.recv(65536):
        os.write(1, block)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while left > 0 and (block := os.read(0, min(65536, left))):
    line.sendall(block)
    left -= len(block)
line.shutdown(socket.SHUT_WR)  # what was carried arrives; a reset would take it back
threading.Event().wait(1)
os._exit(1)
"""


@dataclass(frozen=True)
class SshHost:
    """The host; `config` is what `ssh -F` reads, in which it is called "eu-host"."""

    root: Path
    config: Path
    namespace: str
    address: str
    near: str  # this machine's address on the cable

    @property
    def home(self) -> Path:
        """Where the tests let it work."""
        return self.root / "there"

    def run(self, *command: str) -> str:
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command], capture_output=True, text=True, check=True
        ).stdout

    def metadata(self, answers: Mapping[str, str]) -> None:
        """What its metadata service answers, by path."""
        (self.root / "metadata.json").write_text(json.dumps(answers), encoding="utf-8")

    def cut(self, *after_bytes: int) -> None:
        """Break the next lines to "cut-line", each after so many bytes that it carried there."""
        (self.root / "cuts").write_text(" ".join(map(str, after_bytes)))

    def firmware(self, strings: Mapping[str, str]) -> None:
        """What its firmware says: root's own files in the place of the kernel's."""
        (self.root / "dmi").mkdir(exist_ok=True)  # mounted there: it must stay the same one
        for path in (self.root / "dmi").iterdir():
            path.unlink()
        for name, value in strings.items():
            (self.root / "dmi" / name).write_text(value + "\n", encoding="utf-8")


def why_not() -> str:
    """Why this machine can start no such host; empty when it can."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "a network namespace with a cable needs Linux and root"
    missing = [program for program in (SSHD, "ssh", "ssh-keygen", "ip", "unshare") if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextmanager
def ssh_host(root: Path) -> Iterator[SshHost]:
    """Start it; it and all that runs in it end with the block."""
    if reason := why_not():
        if NEEDED in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    root.chmod(0o755)
    number = os.getpid() % 16384
    namespace, near, far = f"rv-{os.getpid()}", f"rvh{os.getpid()}", f"rvd{os.getpid()}"
    base = f"10.{64 + number // 256}.{number % 256}"
    host = SshHost(root, root / "ssh_config", namespace, f"{base}.2", f"{base}.1")
    host.home.mkdir()
    (root / "full").mkdir()
    host.metadata({})
    host.firmware({})
    _keys(host)
    processes = []
    _ip("netns", "add", namespace)
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", far)
        _ip("link", "set", far, "netns", namespace)
        _ip("addr", "add", f"{host.near}/30", "dev", near)
        _ip("link", "set", near, "up")
        inside = ("-n", namespace)
        _ip(*inside, "addr", "add", f"{host.address}/30", "dev", far)
        _ip(*inside, "link", "set", far, "up")
        _ip(*inside, "link", "set", "lo", "up")
        for address in ("169.254.42.42", "169.254.169.254"):
            _ip(*inside, "addr", "add", f"{address}/32", "dev", "lo")
        Path("/run/sshd").mkdir(exist_ok=True)
        script = (
            "mount -t tmpfs none /sys/class && mkdir -p /sys/class/dmi/id && "
            f"mount --bind {root}/dmi /sys/class/dmi/id && mount -t tmpfs -o size=300k none {root}/full && "
            f"exec {SSHD} -D -e -f {root}/sshd_config"
        )
        enter = ["ip", "netns", "exec", namespace]
        service = [*enter, sys.executable, "-I", "-c", _METADATA, str(root / "metadata.json")]
        with (root / "sshd.log").open("wb") as log:
            processes.append(subprocess.Popen([*enter, "sh", "-c", script], stdout=log, stderr=log))
            processes.append(subprocess.Popen(service, stderr=log))
        _wait(host)
        yield host
    finally:
        pids = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
        for pid in pids.split():
            subprocess.run(["kill", "-KILL", pid], check=False, capture_output=True)
        for process in processes:
            process.wait()
        _ip("netns", "del", namespace)
        subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)


def _keys(host: SshHost) -> None:
    root = host.root
    for name in ("host_key", "user_key", "another_host_key", "another_user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)]
        subprocess.run(command, check=True)
    (root / "authorized_keys").write_text((root / "user_key.pub").read_text())
    (root / "sshd_config").write_text(f"""
ListenAddress {host.address}:2222
HostKey {root}/host_key
AuthorizedKeysFile {root}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
LogLevel VERBOSE
MaxStartups 100
ListenAddress {host.address}:2223
Match LocalPort 2223
    ForceCommand {root}/no-namespaces
""")
    # as on Ubuntu 24.04 or in most containers: who comes by this door may make no namespace
    (root / "no-namespaces").write_text(
        "#!/bin/sh\nexec unshare --user --map-root-user sh -c 'echo 0 > /proc/sys/user/max_user_namespaces"
        ' && eval "$SSH_ORIGINAL_COMMAND"\'\n'
    )
    (root / "no-namespaces").chmod(0o755)
    write_known(host, "host_key")
    common = f"""
    HostName {host.address}
    User root
    IdentityFile {root}/user_key
    IdentitiesOnly yes
    UserKnownHostsFile {root}/known_hosts
    GlobalKnownHostsFile /dev/null
    HostKeyAlias [{host.address}]:2222
"""
    host.config.write_text(f"""
Host eu-host
    Port 2222 {common}
Host no-namespaces
    Port 2223 {common}
Host cut-line
    Port 2222 {common}
    ProxyCommand {sys.executable} -I {root}/relay.py {host.address} {root}/cuts
""")
    (root / "relay.py").write_text(_RELAY)


def write_known(host: SshHost, key: str | None) -> None:
    """Which host key the user knows; None: none at all."""
    known = "" if key is None else f"[{host.address}]:2222 {(host.root / f'{key}.pub').read_text()}"
    (host.root / "known_hosts").write_text(known)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _wait(host: SshHost) -> None:
    deadline = time.monotonic() + 20
    while True:
        done = subprocess.run(
            ["ssh", "-F", str(host.config), "-o", "BatchMode=yes", "eu-host", "true"], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return
        assert time.monotonic() < deadline, done.stderr + (host.root / "sshd.log").read_text()
        time.sleep(0.1)
