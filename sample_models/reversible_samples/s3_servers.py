"""Where does the demo keep objects? On two real S3 servers of different makes, each from a wheel.

`MiniStack` stands for the vendor, `SeaweedFS` for the European provider: the same software on both sides would
hide faults that both share. Both listen on loopback only, need no root, and end with the block, with Ctrl-C, and
with the process that started them, however it dies.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from reversible.errors import MissingSDKError, ReversibleError

_START_S = 60.0  # a loaded machine with a cold disk; 0.5 to 1.5 s is usual
_STOP_S = 6.0  # SeaweedFS takes 2.2 s to end, and once did not end at all
# Ends the server when the pipe from its starter closes: also after a SIGKILL, which no handler sees.
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{
    read -r _ <&3
    kill -TERM $server
    for _ in 1 2 3 4 5; do kill -0 $server && sleep 1; done
    kill -KILL $server
    rm -rf "$TMPDIR"  # the private one that start() made
} 2>/dev/null &
wait $server
"""


class S3Server:
    """One server program, from `with` to the end of the block.

    Args:
        folder: Where it keeps its data and its log, `server.log`.
        region: What clients must sign for.
    """

    program = ""
    start_s = _START_S

    def __init__(self, folder: Path, *, region: str) -> None:
        self.folder = folder.absolute()
        self.region = region
        self.access_key = f"AK{secrets.token_hex(9).upper()}"
        self.secret_key = secrets.token_urlsafe(30)
        self.log = self.folder / "server.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None

    @property
    def endpoint_url(self) -> str:
        """The server's address; raises RuntimeError before the start."""
        if not self._port:
            raise RuntimeError(f"{self.program} is not started")
        return f"http://127.0.0.1:{self._port}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}, region={self.region!r})"

    def start(self) -> None:
        """Start it and wait until an object that was put can be read back.

        Raises:
            MissingSDKError: the wheel is not installed.
            ReversibleError: it ended, or did not answer in time; the hint names its log.
        """
        program = self._executable()
        self.folder.mkdir(parents=True, exist_ok=True)
        # Unix sockets are named by port only, below TMPDIR, and their paths may have 107 bytes at most.
        self._scratch = Path(tempfile.mkdtemp(prefix="s3-"))
        arguments, environment = self._command()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _GUARD, "sh", str(program), *arguments],
                    stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder,
                    env={**_plain_environment(), "TMPDIR": str(self._scratch), **environment},
                    start_new_session=True,  # Ctrl-C is ours to handle, not the server's
                )  # fmt: skip
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; safe to repeat."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
            process.stdin.close()  # the guard sends SIGTERM
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _kill_group(process)
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL, the server and its guard: a crash; `start` brings it back with its data, at another address."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
            _kill_group(process)
            process.stdin.close()
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, config: Any = None) -> Any:
        """A boto3 client with the server's owner keys; `config` (botocore's) goes over our short timeouts."""
        import boto3
        from botocore.config import Config

        short = Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1})
        return boto3.client(
            "s3", endpoint_url=self.endpoint_url, region_name=self.region,
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key,
            config=short.merge(config) if config else short,
        )  # fmt: skip

    def _executable(self) -> Path:
        program = Path(sysconfig.get_path("scripts"), self.program)
        if not program.exists():
            raise MissingSDKError(self.program, extra="demo")
        return program

    def _command(self) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError

    def _wait(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        assert self._process is not None  # noqa: S101 - for the type checker: start() set it
        client, until = self.client(), time.monotonic() + self.start_s
        said = ""
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise ReversibleError(
                    f"{self.program} ended with status {self._process.returncode}", hint=f"tail {self.log}"
                )
            try:
                _round_trip(client)
            except (BotoCoreError, ClientError) as error:
                said = str(error)
                time.sleep(0.05)
            else:
                return
        raise ReversibleError(f"{self.program} did not answer in {self.start_s:.0f} s: {said}", hint=f"tail {self.log}")


class MiniStack(S3Server):
    """The vendor's S3: MiniStack, data in memory only."""

    program = "ministack"

    def __init__(self, folder: Path, *, region: str = "eu-west-3") -> None:
        super().__init__(folder, region=region)

    def _command(self) -> tuple[list[str], dict[str, str]]:
        (self._port,) = free_ports(1)
        return [], {
            "BIND_HOST": "127.0.0.1",  # its default is every interface
            "GATEWAY_PORT": str(self._port),
            "IOT_MTLS_ENABLED": "0",  # would listen on every interface too
            "SFTP_ENABLED": "0",
            "SERVICES": "s3",
            "MINISTACK_REGION": self.region,
            "S3_PERSIST": "0",
            "LOG_LEVEL": "WARNING",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


class SeaweedFS(S3Server):
    """The European provider's S3: SeaweedFS in one process, its inner ports behind keys of their own."""

    program = "weed"

    def __init__(self, folder: Path, *, region: str = "eu-local") -> None:
        super().__init__(folder, region=region)

    def _command(self) -> tuple[list[str], dict[str, str]]:
        assert self._scratch is not None  # noqa: S101 - for the type checker: start() set it
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        (data / "mini.options").unlink(missing_ok=True)  # an earlier start's ports: weed reads it again
        config = self.folder / "s3.json"
        config.touch(mode=0o600)
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        owner = {"name": "owner", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        config.write_text(json.dumps({"identities": [owner]}), encoding="utf-8")
        names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
        ports = free_ports(2 * len(names))
        self._port = ports[0]
        both = [*zip(names, ports, strict=False), *zip((f"{n}.grpc" for n in names), ports[len(names) :], strict=True)]
        options = {
            "dir": data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",  # its default is every interface
            "master.telemetry": "false",  # on by default
            "admin.ui": "false",
            "webdav": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": config,
            "s3.autoCreateBucket": "false",  # a mistyped bucket must be an error
            "s3.allowDeleteBucketNotEmpty": "false",
            "s3.domainName": "localhost",  # BUCKET.localhost too
            "s3.localSocket": self._scratch / "s3.sock",
            "filer.localSocket": self._scratch / "filer.sock",
            **dict(both),
        }
        keys = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
        environment = {f"WEED_JWT_{key}": secrets.token_urlsafe(24) for key in keys}
        return ["-logtostderr", "mini", *(f"-{key}={value}" for key, value in options.items())], environment


def _round_trip(client: Any) -> None:
    """Put an object, read it back, leave nothing behind."""
    bucket = f"ready-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})
    client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
    client.get_object(Bucket=bucket, Key="ready")["Body"].read()
    client.delete_object(Bucket=bucket, Key="ready")
    client.delete_bucket(Bucket=bucket)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now."""
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            one = socket.socket()
            one.bind(("127.0.0.1", 0))
            held.append(one)
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def _plain_environment() -> Mapping[str, str]:
    """The caller's environment without its credentials: a server needs none of them."""
    return {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT")}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL whatever is left of the server and its guard."""
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
