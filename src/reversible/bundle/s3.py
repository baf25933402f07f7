"""Does an S3 server give back the bytes that it was given?

Through pyarrow's S3 client, which the default install holds: the verifying side has no vendor SDK. Servers differ
and some answer 200 to altered bytes, so nothing here believes an answer: each file is read back and hashed. They
differ in the checksum headers that they bear, too; a child process tries the server first, and this process then
talks to it in the way that worked (the client reads that setting from the environment, once).
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reversible.bundle import bag
from reversible.bundle.transfer import ATTEMPTS, blocks, hashed_file
from reversible.errors import DestinationError

PROBES = ".reversible-probe-"  # no bag has such a name
_READ = 8 << 20  # bytes in one ranged request
_PROBE_S = 120.0
# READ (AWS SDK for C++, "data integrity protections"): these two decide, and only they, from the environment.
_INTEGRITY = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")


class S3Storage:
    """A bucket, or a prefix of it.

    Args:
        bucket: It must exist.
        prefix: Without slashes around it; "" for the whole bucket.
        region: What requests are signed for; never guessed.
        endpoint_url: The provider's address; AWS when None.
        access_key, secret_key: The client's own chain (environment, files) when None.
    """

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        region: str,
        endpoint_url: str | None,
        access_key: str | None,
        secret_key: str | None,
    ) -> None:
        self._bucket, self._prefix, self._region, self._endpoint = bucket, prefix, region, endpoint_url
        self._keys = (access_key, secret_key)
        self._lock = threading.Lock()
        self._answers: dict[str, Any] | None = None
        self._client: Any = None

    @property
    def name(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"S3Storage({self.name!r}, endpoint_url={self._endpoint!r}, region={self._region!r})"

    def put(self, key: str, source: Path, sha256: str, *, stop: threading.Event | None = None) -> None:
        """Send and read back, `ATTEMPTS` times at most."""
        seen = ""
        for _ in range(ATTEMPTS):
            with self._refusals(key):
                with self._filesystem().open_output_stream(self._path(key)) as stream:
                    for block in hashed_file(source, sha256, stop=stop):
                        stream.write(block)
                seen = self.digest(key, stop=stop)
            if seen == sha256:
                return
        raise DestinationError(
            f"{self.name}: {key} came back altered {ATTEMPTS} times: sent SHA-256 {sha256[:16]}…, read {seen[:16]}…",
            hint="something between here and the storage changes bytes: report it to the provider, then ship again",
        )

    def get(self, key: str, target: Path, *, stop: threading.Event | None = None) -> str:
        """Write and hash."""
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for block in self._read(key, stop):
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def digest(self, key: str, *, stop: threading.Event | None = None) -> str:
        """Read and hash."""
        digest = hashlib.sha256()
        for block in self._read(key, stop):
            digest.update(block)
        return digest.hexdigest()

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every key below the prefix; folders that some servers show, and our own probes, are left out."""
        from pyarrow import fs

        base = self._path("").rstrip("/")
        with self._refusals(""):
            found = self._filesystem().get_file_info(fs.FileSelector(base, recursive=True, allow_not_found=True))
        for one in found:
            key = one.path.removeprefix(f"{base}/")
            if one.type == fs.FileType.File and not key.startswith(PROBES):
                yield key, one.size

    def probe(self) -> dict[str, Any]:
        """What the server does, tried in a child process; the first call tries, later ones repeat the answer.

        Raises:
            DestinationError: the server cannot be used with either way of checksum headers.
        """
        with self._lock:
            if self._answers is None:
                self._answers = self._try()
            return self._answers

    # --- helpers ------------------------------------------------------------------------------------------------

    def _try(self) -> dict[str, Any]:
        tried: dict[str, list[dict[str, Any]]] = {}
        for mode in ("when_supported", "when_required"):
            steps = tried[mode] = self._child(mode)
            if all(step["ok"] for step in steps if step["needed"]):
                os.environ |= dict.fromkeys(_INTEGRITY, mode)
                return {
                    "storage": self.name, "kind": "s3", "endpoint_url": self._endpoint, "region": self._region,
                    "integrity_headers": mode, "steps": steps,
                    "refused": {other: said for other, said in tried.items() if other != mode},
                }  # fmt: skip
            if re.search(_UNREACHED, next(step["seen"] for step in steps if step["needed"] and not step["ok"])):
                break  # other headers reach it no better
        failed = next(step for step in steps if step["needed"] and not step["ok"])
        raise self._refusal(f"{failed['step']}: {failed['seen']}", "")

    def _child(self, mode: str) -> list[dict[str, Any]]:
        """The probe's answers in one mode; the credentials go through a pipe."""
        task = {**self._options(), "base": self._path(""), "probes": PROBES}
        environment = {**os.environ, **dict.fromkeys(_INTEGRITY, mode)}
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "reversible.bundle.s3_probe"], input=json.dumps(task), env=environment,
                capture_output=True, text=True, check=True, timeout=_PROBE_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise DestinationError(
                f"{self.name}: the storage did not answer in {_PROBE_S:.0f} s", hint=f"curl -I {self._where}"
            ) from error
        except subprocess.CalledProcessError as error:
            lines = self._scrub(error.stderr.strip()).splitlines()
            raise DestinationError(f"{self.name}: the probe failed: {lines[-1] if lines else 'no word'}") from None
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return [{**answer, "seen": self._scrub(answer["seen"])} for answer in answers]

    def _options(self) -> dict[str, Any]:
        """The client's arguments."""
        access_key, secret_key = self._keys
        options: dict[str, Any] = {"region": self._region, "allow_delayed_open": True, "connect_timeout": 10.0}
        if access_key is not None:
            options |= {"access_key": access_key, "secret_key": secret_key}
        if self._endpoint is not None:
            address = urlsplit(self._endpoint)
            options |= {"scheme": address.scheme, "endpoint_override": address.netloc}
        return options

    def _filesystem(self) -> Any:
        self.probe()  # decides the integrity headers, before this process touches S3
        with self._lock:
            if self._client is None:
                from pyarrow import fs

                self._client = fs.S3FileSystem(**self._options())
            return self._client

    def _read(self, key: str, stop: threading.Event | None) -> Iterator[bytes]:
        with self._refusals(key), self._filesystem().open_input_stream(self._path(key)) as stream:
            yield from blocks(stream, stop=stop, size=_READ)

    def _path(self, key: str) -> str:
        if key and not bag.is_safe(key):
            raise ValueError(f"not a key of a bundle: {key!r}")
        return "/".join(part for part in (self._bucket, self._prefix) if part) + f"/{key}"

    @property
    def _where(self) -> str:
        return self._endpoint or f"https://s3.{self._region}.amazonaws.com"

    @contextmanager
    def _refusals(self, key: str) -> Iterator[None]:
        """The client's errors in our own words. A disk's errors have an errno, and pass."""
        try:
            yield
        except FileNotFoundError as error:
            if error.filename is not None:
                raise
            raise DestinationError(f"{self.name}: {key or 'the bucket'} is not there") from None
        except OSError as error:
            if error.filename is not None or (error.errno and not str(error).startswith("When ")):
                raise
            raise self._refusal(str(error), key) from None

    def _refusal(self, said: str, key: str) -> DestinationError:
        """One line and a hint, without credentials."""
        subject = f"{self.name}: {key}: " if key else f"{self.name}: "
        for pattern, meaning, hint in _MEANINGS:
            if re.search(pattern, said):
                facts: Mapping[str, str] = {"bucket": self._bucket, "where": self._where, "region": self._region}
                return DestinationError(subject + meaning.format(**facts), hint=hint.format(**facts))
        return DestinationError(subject + (self._scrub(said).splitlines() or ["refused"])[0][:300])

    def _scrub(self, text: str) -> str:
        for value in self._keys:
            if value:
                text = text.replace(value, "***")
        return text


_UNREACHED = "NETWORK_CONNECTION|curlCode|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH"
# What the C++ client says -> what it means, and what to type. The first that matches.
_MEANINGS = (
    (
        "NO_SUCH_BUCKET|NoSuchBucket", "there is no bucket {bucket} at {where}",
        "aws s3 mb s3://{bucket} --endpoint-url {where} --region {region}",
    ),
    (
        "INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|InvalidAccessKeyId|SignatureDoesNotMatch",
        "{where} refuses the access key or the secret key",
        "check access_key and secret_key of [destination.storage], and that both variables are exported",
    ),
    (
        "AuthorizationHeaderMalformed|AUTHORIZATION_HEADER_MALFORMED|PermanentRedirect|HTTP status 301",
        "{where} does not take the region {region}", "set region of [destination.storage] to the provider's own name",
    ),
    (
        "ACCESS_DENIED|AccessDenied|HTTP status 403|Forbidden", "access denied at {where}",
        "grant s3:ListBucket on {bucket} and s3:GetObject, s3:PutObject, s3:DeleteObject on {bucket}/*",
    ),
    ("curlCode: 28|REQUEST_TIMEOUT|[Tt]imed? ?out", "{where} does not answer in time", "curl -sSI {where}"),
    ("NETWORK_CONNECTION|curlCode", "{where} cannot be reached", "curl -sSI {where}"),
    (
        "MISSING_CONTENT_LENGTH|BAD_DIGEST|XAmzContentSHA256Mismatch",
        "{where} says that bytes changed on the way", "report it to the provider, then ship again",
    ),
)  # fmt: skip
