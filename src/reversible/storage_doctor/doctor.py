"""What does this storage do, operation by operation?

Everything happens below one prefix of the examination's own in the customer's bucket, and is removed at the end,
whatever happens. Nothing is set on the bucket. Requests, bytes and time are bounded: what does not fit is "not
tried", never passed over.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote_plus

from reversible.s3 import Client, UnreachableError
from reversible.storage_doctor import access, checksums, conditions, metadata, multipart, names, objects, retention
from reversible.storage_doctor.bench import PROBES, Bench, Ended, Operation, Outcome, Trial

MAX_REQUESTS = 800  # a server that does all of it is asked some 430 times
MAX_BYTES = 64 << 20  # sent; all of it takes some 21 MB
MAX_SECONDS = 240.0
LOCKS = retention.OPERATIONS[:3]  # first: what is locked can be removed when the others are through

OPERATIONS: tuple[Operation, ...] = (
    *objects.OPERATIONS, *names.LISTINGS, *multipart.OPERATIONS, *checksums.OPERATIONS, *conditions.OPERATIONS,
    *metadata.OPERATIONS, *retention.OPERATIONS, *access.OPERATIONS,
    *names.KEYS,  # last: a name that a server cannot bear may cost it its breath for a minute (seen with Swift)
)  # fmt: skip
_SHIPS = ("sha256", "sha256.wrong", "md5", "md5.wrong", "crc32", "crc32.wrong", "payload.wrong", "range", "trailer",
          "multipart.numbers")  # fmt: skip
SHIPPING = tuple(one for one in OPERATIONS if one.need == "transport" or one.id in _SHIPS)  # what `Settings` asks
CLEAN = Operation("clean", "what was put is removed again", lambda _: None)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """All trials of one storage, and what they cost."""

    trials: tuple[Trial, ...]
    requests: int
    bytes_sent: int
    seconds: float

    def __getitem__(self, operation: str) -> Trial:
        return next(trial for trial in self.trials if trial.operation == operation)

    def works(self, *operations: str) -> bool:
        """Whether every one of these was tried, and works."""
        return all(
            any(trial.operation == one and trial.outcome is Outcome.WORKS for trial in self.trials)
            for one in operations
        )  # fmt: skip

    def failed(self, *needs: str) -> tuple[Trial, ...]:
        """What does not work, or could not be tried, of what these need."""
        return tuple(one for one in self.trials if one.need in needs and one.outcome is not Outcome.WORKS)

    def to_json(self) -> dict[str, Any]:
        return {
            "operations": [trial.to_json() for trial in self.trials],
            "requests": self.requests, "bytes_sent": self.bytes_sent, "seconds": round(self.seconds, 1),
        }  # fmt: skip


class Doctor:
    """One examination: iterate over its trials, then ask for the whole.

    Args:
        client: With the owner's keys.
        prefix: Where in the bucket, with its slash: its own, and unlike any other's.
        operations: Which; all of them.
        lock_s: Seconds for which an object is locked; the examination ends no sooner.
    """

    def __init__(
        self, client: Client, prefix: str, *, operations: Sequence[Operation] = OPERATIONS, lock_s: int = 12
    ) -> None:
        self._operations = sorted(operations, key=lambda one: one not in LOCKS)
        self._spent = [0, 0]  # requests, bytes
        self._began = time.monotonic()
        self._limit = True
        self._bench = Bench(replace(client, watch=self._charge), prefix, lock_s)
        self._trials: list[Trial] = []

    def __iter__(self) -> Iterator[Trial]:
        """Each trial as it ends; the last one says whether all is removed again.

        Raises:
            UnreachableError: the very first request was not answered.
        """
        ended = False
        try:
            for one in self._operations:
                self._trials.append(self._tried(one))
                yield self._trials[-1]
            ended = True
        finally:
            cleaned = self._clean()
            self._bench.client.close()
        if ended:
            self._trials.append(cleaned)
            yield cleaned

    def result(self) -> Examination:
        """What was found; in the catalogue's order."""
        places = {one.id: place for place, one in enumerate((*OPERATIONS, CLEAN))}
        return Examination(
            trials=tuple(sorted(self._trials, key=lambda one: places.get(one.operation, -1))),
            requests=self._spent[0], bytes_sent=self._spent[1], seconds=time.monotonic() - self._began,
        )  # fmt: skip

    # --- helpers ------------------------------------------------------------------------------------------------

    def _tried(self, one: Operation) -> Trial:
        try:
            note = one(self._bench)
        except Ended as end:
            return Trial(
                operation=one.id, outcome=end.outcome, code=end.code, said=end.said, facts=end.facts, need=one.need
            )
        except UnreachableError as error:
            if not self._trials:
                raise
            said, facts = "{why}", {"why": error.message}
            return Trial(
                operation=one.id, outcome=Outcome.REFUSED, code="NoAnswer", said=said, facts=facts, need=one.need
            )
        except (ValueError, LookupError) as error:
            said = "its answer has another form than S3's: {why}"
            facts = {"why": f"{type(error).__name__}: {error}"[:200]}
            return Trial(operation=one.id, outcome=Outcome.LIES, said=said, facts=facts, need=one.need)
        said, more = note or ("", {})
        return Trial(operation=one.id, outcome=Outcome.WORKS, said=said, facts=more, need=one.need)

    def _charge(self, size: int) -> None:
        self._spent[0] += 1
        self._spent[1] += size
        if not self._limit:
            return
        if self._spent[0] > MAX_REQUESTS:
            raise Ended(Outcome.NOT_TRIED, "{limit} requests were not enough", limit=MAX_REQUESTS)
        if self._spent[1] > MAX_BYTES:
            raise Ended(Outcome.NOT_TRIED, "{limit} bytes were not enough", limit=MAX_BYTES)
        if time.monotonic() - self._began > MAX_SECONDS:
            raise Ended(Outcome.NOT_TRIED, "{limit} s were not enough", limit=int(MAX_SECONDS))

    def _clean(self) -> Trial:
        self._limit = False
        try:
            left = clean(self._bench)
        except (Ended, UnreachableError, ValueError, LookupError) as error:
            why = getattr(error, "code", "") or str(error)
            return Trial(operation=CLEAN.id, outcome=Outcome.REFUSED, said="{why}", facts={"why": why})
        if left:
            said = "{count} objects below {prefix} could not be removed"
            facts: dict[str, str | int] = {"count": len(left), "prefix": self._bench.prefix}
            return Trial(operation=CLEAN.id, outcome=Outcome.REFUSED, said=said, facts=facts)
        return Trial(operation=CLEAN.id, outcome=Outcome.WORKS)


def examine(
    client: Client, prefix: str, *, operations: Sequence[Operation] = OPERATIONS, lock_s: int = 12
) -> Examination:
    """All of it at once."""
    doctor = Doctor(client, prefix, operations=operations, lock_s=lock_s)
    for _ in doctor:
        pass
    return doctor.result()


def clean(bench: Bench) -> list[str]:
    """Remove all that lies below the prefix, versions and unfinished uploads too; what is left."""
    client, prefix = bench.client, bench.prefix
    if bench.locked:
        time.sleep(max(0.0, max(bench.locked.values()) - time.time()))
    uploads = client.send("GET", query={"uploads": "", "prefix": prefix})
    if uploads.ok:
        for key, upload in zip(uploads.texts("Upload/Key"), uploads.texts("Upload/UploadId"), strict=True):
            if key.startswith(prefix):
                client.send("DELETE", key, query={"uploadId": upload})
    for key, version in bench.written - set(_found(bench)):
        client.send("DELETE", key, query={"versionId": version} if version else None)
    for _ in range(3):
        found = _found(bench)
        if not found:
            break
        for key, version in found:
            client.send("DELETE", key, query={"versionId": version} if version else None)
    return [key for key, _ in _found(bench)]


def sweep(client: Client, base: str, *, older_s: float = 3600.0) -> int:
    """Remove what a killed examination left below `base` more than an hour ago; how many objects went.

    Args:
        base: The prefix under which examinations have theirs: "exit/".
    """
    answer = client.send("GET", query={"list-type": "2", "prefix": f"{base}{PROBES}", "encoding-type": "url"})
    if not answer.ok:
        return 0
    there = answer.headers.get("date")
    now = parsedate_to_datetime(there) if there else client.now()
    left: dict[str, list[datetime]] = {}
    for one in answer.xml().iterfind("Contents"):
        name = unquote_plus(one.findtext("Key") or "").removeprefix(base).partition("/")[0]
        stamp = (one.findtext("LastModified") or "").replace("Z", "+00:00")
        left.setdefault(name, []).append(datetime.fromisoformat(stamp))
    gone = 0
    for name, moments in left.items():
        if (now - max(moments)).total_seconds() > older_s:
            gone += len(moments)
            clean(Bench(client, f"{base}{name}/"))
    return gone


def _found(bench: Bench) -> list[tuple[str, str]]:
    """Every key below the prefix with its version's id, "" where there are none."""
    found = {(key, "") for key in bench.list_keys(bench.prefix, **{"encoding-type": "url"})}
    with suppress(Ended, ValueError):
        if retention.versioned(bench):
            found = set(_versions(bench))
    return sorted(found, key=lambda one: (one[0].encode()[::-1], one[1]))


def _versions(bench: Bench) -> Iterator[tuple[str, str]]:
    place: dict[str, str] = {}
    for _ in range(20):
        query = {"versions": "", "prefix": bench.prefix, "encoding-type": "url", **place}
        page = bench.ask("GET", query=query).xml()
        plain = page.findtext("EncodingType") != "url"
        for one in (*page.iterfind("Version"), *page.iterfind("DeleteMarker")):
            key = one.findtext("Key") or ""
            yield key if plain else unquote_plus(key), one.findtext("VersionId") or ""
        if page.findtext("IsTruncated") != "true":
            return
        following = page.findtext("NextKeyMarker") or ""
        place = {
            "key-marker": following if plain else unquote_plus(following),
            "version-id-marker": page.findtext("NextVersionIdMarker") or "",
        }
