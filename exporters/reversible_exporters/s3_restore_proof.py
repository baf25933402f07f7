"""Are the restored objects what the bundle says, byte for byte and word for word?"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from reversible.assets import Asset
from reversible.errors import BundleError, DestinationError
from reversible.interfaces import Restored
from reversible_exporters import s3_client

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle
    from reversible_exporters.s3_restore_target import Target

# Column of the index -> header, of what describes a content.
HEADERS = {
    "content_type": "content-type", "cache_control": "cache-control", "content_encoding": "content-encoding",
    "content_disposition": "content-disposition", "content_language": "content-language", "expires": "expires",
}  # fmt: skip
_COLUMNS = ("key", "version_id", "sequence", "is_latest", "delete_marker", "size", "sha256", *HEADERS, "metadata",
            "tags", "error")  # fmt: skip
_THREADS = 8
_BATCH = 1_000


@dataclass(frozen=True)
class Back:
    """A version that lies in the target."""

    key: str
    version_id: str
    delete_marker: bool = False
    is_latest: bool = True


def index(bundle: "Bundle", asset: Asset) -> list[dict[str, Any]]:
    """The rows of the bundle's index, by key and age.

    Raises:
        BundleError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(bundle.folder(asset) / "index.parquet").to_pylist()
        rows = [{name: row[name] for name in _COLUMNS} for row in rows]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise BundleError(f"{asset.id}: its index cannot be read: {error}") from error
    return sorted(rows, key=lambda row: (row["key"].encode(), row["sequence"]))


def compare(target: "Target", asset: Asset, expected: Sequence[Mapping[str, Any]], *, tags: bool) -> Iterator[Restored]:
    """The number of versions and bytes, then each version that differs, then the whole.

    Args:
        expected: Rows of the index that the target should hold.
        tags: Whether the target has tags at all.
    """
    there = target.listing()
    wanted = {key: list(group) for key, group in groupby(expected, key=lambda row: row["key"])}
    count = sum(len(one) for one in there.values())
    strangers = sorted(set(there) - set(wanted))
    seen = f"the bundle has {len(expected)}, the target {count}"
    if strangers:
        seen += f"; {len(strangers)} names are not the bundle's, {strangers[0][:80]!r} among them"
    yield Restored(
        step="totals", subject=asset.name, ok=count == len(expected) and not strangers, rows=len(expected),
        seen="" if count == len(expected) and not strangers else seen,
    )  # fmt: skip
    wrong = 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="compare") as pool:
        keys = list(wanted)
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            found = pool.map(lambda key: _of_key(target, wanted[key], there.get(key, []), tags=tags), batch)
            for key, differs in zip(batch, found, strict=True):
                if differs:
                    wrong += 1
                    yield Restored(step="values", subject=key, ok=False, seen="; ".join(differs)[:500])
    seen = f"{wrong} of {len(wanted)} objects differ" if wrong else ""
    yield Restored(step="values", subject=asset.name, ok=not wrong, seen=seen, rows=len(expected))


def _of_key(target: "Target", rows: Sequence[Mapping[str, Any]], have: Sequence[Back], *, tags: bool) -> list[str]:
    if not have:
        return ["it is not there"]
    if len(have) != len(rows):
        return [f"{len(rows)} versions were put, {len(have)} are there"]
    found = []
    for row, one in zip(rows, have, strict=True):
        number = f"version {row['sequence']}: " if len(rows) > 1 else ""
        found += [f"{number}{differs}" for differs in differences(target, row, one, tags=tags)]
    return found


def differences(target: "Target", row: Mapping[str, Any], one: Back, *, tags: bool) -> list[str]:
    """In what a version that lies there is not the bundle's row: its bytes are read and hashed."""
    from botocore.exceptions import BotoCoreError, ClientError

    if row["delete_marker"] or one.delete_marker:
        return [] if row["delete_marker"] == one.delete_marker else ["a delete marker stands for a version"]
    where = {"Key": one.key} if one.version_id == "null" else {"Key": one.key, "VersionId": one.version_id}
    try:
        answer = target.second.get_object(Bucket=target.bucket, **where)
        digest = hashlib.sha256()
        for block in s3_client.body(target.second, target.bucket, where, answer):
            digest.update(block)
        found = [] if digest.hexdigest() == row["sha256"] else ["its bytes are others"]
        said = s3_client.properties(answer)
        for name, header in HEADERS.items():
            if row[name] is not None and said[name] != row[name]:
                found.append(f"{header} is {said[name]!r}, was {row[name]!r}")
        metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
        wanted = json.loads(row["metadata"] or "{}")
        if metadata != wanted:
            apart = sorted(name for name in {*metadata, *wanted} if metadata.get(name) != wanted.get(name))
            found.append(f"metadata differ: {', '.join(apart)}")
        if row["tags"] is not None and tags:
            told = target.second.get_object_tagging(Bucket=target.bucket, **where)["TagSet"]
            if {tag["Key"]: tag["Value"] for tag in told} != json.loads(row["tags"]):
                found.append("tags differ")
        elif row["tags"] not in (None, "{}"):
            found.append("its tags are gone: the target has none")
    except ClientError as error:
        return [f"it cannot be read back: {s3_client.error_code(error)}"]
    except BotoCoreError as error:
        raise DestinationError(f"{target.name}: {one.key}: {error}", hint="type the same command again") from error
    return found
