"""How does `reversible restore` put objects back into a bucket, and are they then what the bundle says?

Objects go up through the core's own client, as the target takes them (`reversible.storage_doctor`), and are read back
through boto3: the way up and the way back share no code. What is compared is every byte, and all that was said about
each version; an ETag is believed about nothing.

A mark of the bundle's own stands in the target while a restore goes on. It tells a target that is half ours from one
that holds somebody else's objects, and goes when all is back.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reversible.assets import Asset
from reversible.bundle import s3_upload
from reversible.errors import DestinationError, UsageError
from reversible.interfaces import Restored
from reversible.s3 import Answer
from reversible.storage_doctor import Examination, Settings, metadata
from reversible.storage_doctor.bench import PROBES
from reversible.storage_doctor.doctor import SHIPPING, examine
from reversible_exporters import s3_restore_proof
from reversible_exporters.s3_restore_proof import HEADERS, Back
from reversible_exporters.s3_restore_target import MARK, Target

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

_THREADS = 8
_BATCH = 1_000  # versions in memory at once, beside the index
_ASKED = (*SHIPPING, metadata.tags, metadata.tags_unicode, metadata.metadata, metadata.metadata_names,
          metadata.content_headers)  # fmt: skip

Row = Mapping[str, Any]


class S3Restorer:
    """Restores one collection of objects of a bundle into a bucket that exists, below a prefix.

    Args:
        url: s3://bucket/prefix; keys keep their names below it.
        allow_non_empty: Go on where the place holds something already; what has the same name is replaced.
        owners: Means nothing here; who owns an object is the target's own.
        endpoint_url: The target's address; AWS when None.
        region: What requests are signed for.
    """

    source_types = frozenset({"reversible-objects/1"})

    def __init__(
        self,
        url: str,
        *,
        allow_non_empty: bool = False,
        owners: bool = True,
        endpoint_url: str | None = None,
        region: str | None = None,
    ) -> None:
        self._allow = allow_non_empty
        self._target = Target(url, endpoint_url=endpoint_url, region=region)

    def restore(self, bundle: "Bundle", database: Asset, tables: Sequence[Asset]) -> Iterator[Restored]:
        """Put every version back that the target can keep, then compare it with the bundle, version by version.

        Raises:
            UsageError: the place holds something already.
            DestinationError: the target cannot be reached, or went away: the same command goes on.
        """
        del tables  # a collection has none
        target = self._target
        rows = s3_restore_proof.index(bundle, database)
        resumed = self._begin(bundle)
        found = examine(target.client, target.key(f"{PROBES}{token_hex(8)}/"), operations=_ASKED)
        if failed := found.failed("transport"):
            raise DestinationError(f"{target.name} cannot hold objects: {failed[0].operation}: {failed[0].seen}")
        way = _Way(bundle, database, target, found, versions=target.versioned())
        if resumed:
            yield Restored(step="resume", subject=database.name, seen="an interrupted restore goes on")
            way.there = target.listing()
        yield from self._notes(bundle, database, rows, way)
        yield from way.put(rows)
        target.client.send("DELETE", target.key(self._mark(bundle)))
        way.unmark(self._mark(bundle))
        yield from s3_restore_proof.compare(target, database, way.expected(rows), tags=way.tags)

    def _mark(self, bundle: "Bundle") -> str:
        return f"{MARK}{bundle.digest[:16]}"

    def _begin(self, bundle: "Bundle") -> bool:
        """Whether an earlier call left our mark; it stands there after this."""
        target, mark = self._target, self._target.key(self._mark(bundle))
        if target.client.send("HEAD", mark).ok:
            return True
        if (other := target.first()) is not None and not self._allow:
            raise UsageError(
                f"{target.name} is not empty: {other[:200]!r} is there",
                hint="choose an empty prefix, or go on with --allow-non-empty",
            )
        target.require(target.client.send("PUT", mark, body=b"a restore goes on"))
        return False

    def _notes(self, bundle: "Bundle", asset: Asset, rows: Sequence[Row], way: "_Way") -> Iterator[Restored]:
        """What does not come back, said before the work begins."""
        if (older := sum(not row["is_latest"] for row in rows)) and not way.versions:
            seen = f"{older} older versions stay in the bundle: the target keeps no versions"
            yield Restored(step="values", subject=f"{asset.name}: older versions", ok=None, seen=seen)
        if not way.tags and any(row["tags"] not in (None, "{}") for row in rows):
            yield Restored(step="note", subject=asset.name, seen="the target has no tags: objects come back without")
        settings = sorted(bundle.document(asset, "bucket.json").get("settings", {}))
        if settings:
            yield Restored(
                step="note", subject=asset.name,
                seen=f"set on the source's bucket, and not here: {', '.join(settings)}; bucket.json has them",
            )  # fmt: skip
        for row in rows:
            if row["error"]:
                yield Restored(
                    step="values", subject=row["key"], ok=None, seen=f"not whole in the bundle: {row['error']}"
                )


@dataclass
class _Way:
    """How objects go up into one target."""

    bundle: "Bundle"
    asset: Asset
    target: Target
    found: Examination
    versions: bool
    there: dict[str, list[Back]] = field(default_factory=dict)
    refused: set[tuple[str, int]] = field(default_factory=set)

    @property
    def tags(self) -> bool:
        return self.found.works("tags")

    def expected(self, rows: Sequence[Row]) -> list[Row]:
        """What the target should hold now."""
        return [row for row in rows if self._fits(row) and (row["key"], row["sequence"]) not in self.refused]

    def put(self, rows: Sequence[Row]) -> Iterator[Restored]:
        """One step for each thousand versions, and one for each that the target refused."""
        settings = Settings.of(self.found, virtual=self.target.client.virtual)
        groups = [list(group) for _, group in groupby(filter(self._fits, rows), key=lambda row: row["key"])]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="restore") as pool:
            for start in range(0, len(groups), _BATCH):
                try:
                    ended = list(pool.map(lambda group: self._one(group, settings), groups[start : start + _BATCH]))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                count = sum(done for done, _ in ended)
                if count:
                    yield Restored(step="rows", subject=self.asset.name, rows=count)
                for _, refusals in ended:
                    yield from refusals

    def unmark(self, name: str) -> None:
        """Remove the mark, with its versions."""
        for one in self.target.versions_of(name):
            self.target.client.send("DELETE", self.target.key(name), query={"versionId": one})

    # --- helpers ------------------------------------------------------------------------------------------------

    def _fits(self, row: Row) -> bool:
        """Whether the target is given this version at all."""
        if row["sha256"] is None and not row["delete_marker"]:
            return False  # the source refused its content: said as a note
        return self.versions or (row["is_latest"] and not row["delete_marker"])

    def _one(self, group: list[Row], settings: Settings) -> tuple[int, list[Restored]]:
        """All versions of one key, oldest first: how many were put, and what was refused."""
        begin = self._kept(group)
        done, refusals = 0, []
        for row in group[begin:]:
            answer = self._send(row, settings)
            if answer.ok:
                done += 1
                continue
            self.refused.add((row["key"], row["sequence"]))
            seen = f"{answer.code} {answer.message}".strip()
            refusals.append(Restored(step="rows", subject=row["key"], ok=False, seen=seen, rows=1))
        return done, refusals

    def _kept(self, group: list[Row]) -> int:
        """How many of its versions an interrupted restore had put, read back; what else it left there goes."""
        have = self.there.get(group[0]["key"], [])
        same = 0
        for row, one in zip(group, have, strict=False):
            if s3_restore_proof.differences(self.target, row, one, tags=self.tags):
                break
            same += 1
        for one in have[same:] if self.versions else ():
            key = self.target.key(group[0]["key"])
            self.target.client.send("DELETE", key, query={"versionId": one.version_id})
        return same

    def _send(self, row: Row, settings: Settings) -> Answer:
        key = self.target.key(row["key"])
        if row["delete_marker"]:
            return self.target.client.send("DELETE", key)
        headers = self._headers(row)
        if isinstance(headers, Answer):
            return headers
        path = self.bundle.object_path(self.asset, row["sha256"])
        return s3_upload.send(self.target.client, settings, key, path, row["sha256"], stop=None, headers=headers)

    def _headers(self, row: Row) -> dict[str, str] | Answer:
        """What is said about the version, as it stood on the wire: an index has header bytes as Latin-1."""
        said = {header: row[name] for name, header in HEADERS.items() if row[name] is not None}
        said |= {f"x-amz-meta-{name}": value for name, value in json.loads(row["metadata"] or "{}").items()}
        try:
            headers = {name: value.encode("latin-1").decode("utf-8") for name, value in said.items()}
        except UnicodeEncodeError:
            headers = said  # it came as text, not as header bytes
        except UnicodeDecodeError:
            return Answer(status=0, headers={}, body=b"<Code>NotUtf8</Code><Message>its metadata is no UTF-8</Message>")
        tags = json.loads(row["tags"] or "{}")
        if tags and self.tags:
            pairs = (f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in tags.items())
            headers["x-amz-tagging"] = "&".join(pairs)
        return headers
