"""Are the two embedded S3 servers real, closed to the outside, and gone when they should be?"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reversible.errors import ReversibleError
from reversible_samples.s3_servers import MiniStack, SeaweedFS

LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp
LOOPBACK = "0100007F"  # 127.0.0.1, little endian


@pytest.mark.parametrize("kind", [MiniStack, SeaweedFS])
def test_it_serves_on_loopback_only_and_ends_with_the_block(kind, tmp_path: Path) -> None:
    with kind(tmp_path / "server") as server:
        client = server.client()
        client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": server.region})
        client.put_object(Bucket="bucket", Key="key", Body=b"content")

        assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == b"content"
        if sys.platform == "linux":
            mine = process_group(server)
            assert sockets_elsewhere(mine) == set()
        assert server.secret_key not in repr(server)
        assert server.log.exists()

    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(server.endpoint_url.rpartition(":")[2])), timeout=2)
    server.stop()


def process_group(server) -> list[int]:
    """The process ids of the server and its guard."""
    group = server._process.pid
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            if int(fields[2]) == group:
                found.append(int(entry.name))
    return found


def sockets_elsewhere(processes: list[int]) -> set[str]:
    """Addresses, other than loopback, on which one of these processes listens."""
    held = set()
    for process in processes:
        for descriptor in Path("/proc", str(process), "fd").iterdir():
            try:
                held.add(str(descriptor.readlink()))
            except OSError:
                continue
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    mine = {line[1] for line in lines if line[3] == LISTENING and f"socket:[{line[9]}]" in held}
    assert mine
    return {one for one in mine if not one.startswith(LOOPBACK)}


@pytest.mark.parametrize("kind", ["MiniStack", "SeaweedFS"])
def test_it_ends_with_the_process_that_started_it_however_that_dies(kind: str, tmp_path: Path) -> None:
    script = (
        f"import sys, time; from pathlib import Path; from reversible_samples.s3_servers import {kind} as Server\n"
        "server = Server(Path(sys.argv[1])); server.start()\n"
        "print(server._process.pid, flush=True); time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    group = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.communicate()

    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail(f"{kind} outlived its starter")


def test_a_mistyped_bucket_is_not_made_up(tmp_path: Path) -> None:
    with SeaweedFS(tmp_path / "server") as server, pytest.raises(Exception, match="NoSuchBucket"):
        server.client().put_object(Bucket="no-such-bucket", Key="key", Body=b"x")


def test_a_server_that_does_not_start_says_where_its_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = SeaweedFS(tmp_path / "server")
    monkeypatch.setattr(server, "_command", lambda: (["no-such-command"], {}))
    server._port = 1

    with pytest.raises(ReversibleError, match="weed ended with status") as caught:
        server.start()
    assert str(server.log) in caught.value.hint
