"""Does an S3 server give back the bytes that it was given?

Through our own small client: the verifying side has no vendor SDK, and a request says exactly what it must. Servers
differ and some answer 200 to altered bytes, so nothing here believes an answer: each file is read back and hashed.
They differ in the addresses and digests that they take, too: what `storage_doctor` found decides, and no list of
makes.
"""

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import unquote_plus

from reversible.bundle import bag, s3_upload
from reversible.bundle.transfer import ATTEMPTS
from reversible.errors import DestinationError, Interrupted
from reversible.s3 import Answer, Client, Keys, UnreachableError, signing, trust
from reversible.storage_doctor import Examination, Settings, Trial
from reversible.storage_doctor.bench import PROBES
from reversible.storage_doctor.doctor import SHIPPING, Doctor, sweep

_BREAKS = 5  # times in a row that a body may break off without giving a byte
_EXAMINED_S = 20.0  # for one answer under examination


class S3Storage:
    """A bucket, or a prefix of it.

    Args:
        bucket: It must exist.
        prefix: Without slashes around it; "" for the whole bucket.
        region: What requests are signed for; never guessed.
        endpoint_url: The provider's address; AWS when None.
        access_key, secret_key: The environment's, or those of the shared credentials file, when None.
        ca_bundle: A PEM file of authorities to trust, in place of the system's; else AWS_CA_BUNDLE.
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
        ca_bundle: str | None = None,
    ) -> None:
        self._bucket, self._prefix, self._region = bucket, prefix, region
        self._endpoint = (endpoint_url or f"https://s3.{region}.{_domain(region)}").rstrip("/")
        self._keys = (access_key, secret_key)
        self._ca_bundle = ca_bundle
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._settings: Settings | None = None
        self._found: Examination | None = None

    @property
    def name(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"S3Storage({self.name!r}, endpoint_url={self._endpoint!r}, region={self._region!r})"

    def put(self, key: str, source: Path, sha256: str, *, stop: threading.Event | None = None) -> None:
        """Send and read back, `ATTEMPTS` times at most."""
        client, settings = self._ready()
        seen = ""
        for _ in range(ATTEMPTS):
            answer = s3_upload.send(client, settings, self._path(key), source, sha256, stop=stop)
            if answer.code in s3_upload.ALTERED:
                seen = answer.code
                continue
            self._require(answer, key)
            if (seen := self.digest(key, stop=stop)) == sha256:
                return
        if seen in s3_upload.ALTERED:
            raise DestinationError(
                f"{self.name}: {key}: {self._endpoint} says {ATTEMPTS} times that bytes changed on the way ({seen})",
                hint="report it to the provider, then ship again",
            )
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

    def signed_url(self, method: str, key: str, *, expires_s: int = 12 * 3600) -> str:
        """An address by which whoever holds it reads ("GET") or writes ("PUT") this one key, until it expires.

        Raises:
            DestinationError: the bucket does not answer, or there are no credentials.
        """
        client, path = self.reached(), self._path(key)
        query = signing.encoded_query(client.presigned(method, path, expires_s=expires_s))
        scheme = self._endpoint.partition(":")[0]
        return f"{scheme}://{client.host}{signing.encoded_path(client.path(path))}?{query}"

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every key below the prefix; folders that some servers show, and our own probes, are left out."""
        client, _ = self._ready()
        base = self._path("")
        place: dict[str, str] = {}
        while True:
            query = {"list-type": "2", "prefix": base, "encoding-type": "url", **place}
            page = self._require(client.send("GET", query=query), "").xml()
            plain = page.findtext("EncodingType") != "url"
            for one in page.iterfind("Contents"):
                key = one.findtext("Key") or ""
                key = (key if plain else unquote_plus(key)).removeprefix(base)
                if key and not key.endswith("/") and not key.startswith(PROBES):
                    yield key, int(one.findtext("Size") or 0)
            following = page.findtext("NextContinuationToken")
            if page.findtext("IsTruncated") != "true" or not following or following == place.get("continuation-token"):
                return
            place = {"continuation-token": following}

    def examine(self) -> Iterator[Trial]:
        """Try every operation; `probe` then has the whole, and shipping follows from it.

        Raises:
            DestinationError: the server cannot be reached, or refuses us at the door.
        """
        client = self.reached()
        sweep(client, self._path(""))
        doctor = Doctor(replace(client, timeout_s=_EXAMINED_S), self._path(f"{PROBES}{token_hex(8)}/"))
        yield from doctor
        self._found = doctor.result()
        self._settings = Settings.of(self._found, virtual=client.virtual)

    def probe(self) -> dict[str, Any]:
        """What the server does; the first call tries all of it, later ones repeat the answer.

        Raises:
            DestinationError: it cannot be reached, or does not do what a run cannot do without.
        """
        if self._found is None:
            for _ in self.examine():
                pass
        answers = self.answers()
        assert self._found is not None  # noqa: S101 - for the type checker: examined above
        self._usable(self._found)
        return answers

    def answers(self) -> dict[str, Any]:
        """What was found so far, as evidence, whether it is enough for a run or not."""
        if self._found is None or self._settings is None:
            raise RuntimeError("nothing was examined yet")
        return {
            "storage": self.name, "kind": "s3", "endpoint_url": self._endpoint, "region": self._region,
            **self._settings.to_json(), **self._found.to_json(),
        }  # fmt: skip

    # --- helpers ------------------------------------------------------------------------------------------------

    def _ready(self) -> tuple[Client, Settings]:
        """A client, and how to use it: tried with what shipping needs, where nobody asked for more."""
        client = self.reached()
        with self._lock:
            if self._settings is None:
                brief = replace(client, timeout_s=_EXAMINED_S)
                doctor = Doctor(brief, self._path(f"{PROBES}{token_hex(8)}/"), operations=SHIPPING)
                for _ in doctor:
                    pass
                self._found = self._usable(doctor.result())
                self._settings = Settings.of(self._found, virtual=client.virtual)
            return client, self._settings

    def reached(self) -> Client:
        """A client by the first address at which the bucket answers.

        Raises:
            DestinationError: it does not answer, or refuses us.
        """
        with self._lock:
            if self._client is None:
                access_key, secret_key = self._keys
                keys = Keys.found() if access_key is None else Keys(access_key, secret_key or "")
                client = Client(
                    endpoint_url=self._endpoint, bucket=self._bucket, region=self._region, keys=keys,
                    tls=trust.context(self._ca_bundle) if self._endpoint.startswith("https:") else None,
                )  # fmt: skip
                self._client = self._addressed(client)
            return self._client

    def _addressed(self, client: Client) -> Client:
        query = {"list-type": "2", "max-keys": "1", "prefix": self._path("")}
        first = client.send("GET", query=query)
        if first.ok:
            return client
        if first.status in (301, 307, 308, 400, 404, 405):  # who knows the bucket by its host's name alone
            other = replace(client, virtual=True)
            try:
                if other.send("GET", query=query).ok:
                    return other
            except UnreachableError:
                pass  # no such host: the first answer stands
        raise self._refusal(first, "")

    def _usable(self, found: Examination) -> Examination:
        """The examination, if a run can do with it."""
        if failed := found.failed("transport"):
            first = failed[0]
            said = ": ".join(part for part in (first.code, first.seen) if part)
            raise DestinationError(
                f"{self.name}: {self._endpoint} cannot carry a bundle: {first.operation} {first.outcome}: {said}",
                hint="reversible check PLAN tries every operation; take its answers to the provider",
            )
        return found

    def _read(self, key: str, stop: threading.Event | None) -> Iterator[bytes]:
        """The bytes, in order; a body that breaks off is taken up where it broke, where the server has ranges."""
        client, settings = self._ready()
        offset, breaks, etag = 0, 0, ""
        while True:
            rest = {"range": f"bytes={offset}-", **({"if-match": etag} if etag else {})} if offset else {}
            try:
                with client.open("GET", self._path(key), headers=rest) as (answer, blocks):
                    if not answer.ok:
                        body = b"".join(blocks(1 << 16))
                        raise self._refusal(Answer(status=answer.status, headers=answer.headers, body=body), key)
                    if offset and answer.status != 206:
                        raise DestinationError(f"{self.name}: {key}: a part was asked for, the whole came")
                    etag = answer.headers.get("etag", "")
                    for block in blocks(1 << 62):
                        if stop is not None and stop.is_set():
                            raise Interrupted(
                                "a transfer was stopped", hint="type the same command again: it goes on from here"
                            )
                        offset, breaks = offset + len(block), 0
                        yield block
                    return
            except UnreachableError as error:
                breaks += 1
                if breaks > _BREAKS or not settings.ranges:
                    raise DestinationError(f"{self.name}: {key}: {error.message}", hint=error.hint) from error

    def _path(self, key: str) -> str:
        if key and not key.startswith(PROBES) and not bag.is_safe(key):
            raise ValueError(f"not a key of a bundle: {key!r}")
        return f"{self._prefix}/{key}" if self._prefix else key

    def _require(self, answer: Answer, key: str) -> Answer:
        if not answer.ok:
            raise self._refusal(answer, key)
        return answer

    def _refusal(self, answer: Answer, key: str) -> DestinationError:
        """One line and a hint, without credentials."""
        subject = f"{self.name}: {key}: " if key else f"{self.name}: "
        facts: Mapping[str, str] = {"bucket": self._bucket, "where": self._endpoint, "region": self._region}
        said = f"{answer.status} {answer.code}"
        for pattern, meaning, hint in _MEANINGS:
            if re.search(pattern, said):
                return DestinationError(subject + meaning.format(**facts), hint=hint.format(**facts))
        message = f"{answer.code}: {answer.message}" if answer.message else said
        for value in self._keys:
            message = message.replace(value, "***") if value else message
        return DestinationError(f"{subject}{self._endpoint} refused: {message}")


def _domain(region: str) -> str:
    """READ (AWS, "Regions and partitions"): the domain of each partition."""
    if region.startswith("eusc-"):
        return "amazonaws.eu"
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


# Status and code of an answer -> what it means, and what to type. The first that matches.
_MEANINGS = (
    (
        "NoSuchBucket", "there is no bucket {bucket} at {where}",
        "aws s3 mb s3://{bucket} --endpoint-url {where} --region {region}",
    ),
    ("NoSuchKey", "it is not there", "ship the bundle again: what arrived already is not sent twice"),
    (
        "InvalidAccessKeyId|InvalidClientTokenId|InvalidToken|ExpiredToken|SignatureDoesNotMatch|401 ",
        "{where} refuses the access key or the secret key",
        "check access_key and secret_key of [destination.storage], and that both variables are exported",
    ),
    (
        "RequestTimeTooSkewed", "{where} says that this machine's clock is wrong",
        "timedatectl set-ntp true, then type the same command again",
    ),
    (
        "AuthorizationHeaderMalformed|PermanentRedirect|TemporaryRedirect|^30[178] |IllegalLocationConstraint",
        "{where} does not take the region {region}", "set region of [destination.storage] to the provider's own name",
    ),
    (
        "AccessDenied|Forbidden|^403 ", "access denied at {where}",
        "grant s3:ListBucket on {bucket} and s3:GetObject, s3:PutObject, s3:DeleteObject on {bucket}/*",
    ),
    (
        "SlowDown|ServiceUnavailable|^503 ", "{where} has too much to do",
        "type the same command again: it goes on from here",
    ),
)  # fmt: skip
