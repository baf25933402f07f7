"""What is the bucket that objects are restored into, and what lies there?"""

from functools import cached_property
from typing import Any

from reversible.bundle.s3 import S3Storage
from reversible.bundle.storage import open_storage
from reversible.errors import DestinationError, UsageError
from reversible.s3 import Answer, Client, Keys
from reversible.storage_doctor.bench import PROBES
from reversible_exporters import s3_client
from reversible_exporters.s3_restore_proof import Back

MARK = ".reversible-restore-"  # of a restore that goes on


class Target:
    """A bucket and a prefix, reached by two clients: the core's writes, boto3 reads back.

    Args:
        url: s3://bucket/prefix.
        endpoint_url: AWS when None.
        region: What requests are signed for.

    Raises:
        UsageError: no such URL, or no region.
    """

    def __init__(self, url: str, *, endpoint_url: str | None, region: str | None) -> None:
        storage = open_storage(url, endpoint_url=endpoint_url, region=region)
        if not isinstance(storage, S3Storage):
            raise UsageError(f"{url} is no bucket", hint="--to s3://bucket/prefix")
        self._storage = storage
        self.bucket, _, self._prefix = storage.name.removeprefix("s3://").partition("/")
        self._endpoint, self._region = endpoint_url, region or ""

    @property
    def name(self) -> str:
        return self._storage.name

    @cached_property
    def client(self) -> Client:
        """The one that writes."""
        return self._storage.reached()

    @cached_property
    def second(self) -> Any:
        """The one that reads back."""
        keys = self.client.keys or Keys.found()
        return s3_client.connect(
            region=self._region, endpoint_url=self._endpoint, access_key=keys.access_key,
            secret_key=keys.secret_key, token=keys.token,
        )  # fmt: skip

    def key(self, name: str) -> str:
        """A key below the prefix, exactly as the source called it."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def first(self) -> str | None:
        """A key that is there already; None when nothing is."""
        for one in self._names():
            if not one.startswith(PROBES):
                return one
        return None

    def versioned(self) -> bool:
        """Whether the bucket keeps versions."""
        answer = self.client.send("GET", query={"versioning": ""})
        return answer.ok and answer.texts("Status") == ["Enabled"]

    def listing(self) -> dict[str, list[Back]]:
        """Every key below the prefix with its versions, oldest first, as boto3 lists them."""
        base = self.key("")
        found: dict[str, list[Back]] = {}
        listed: Any = (
            s3_client.list_versions(self.second, self.bucket, base)
            if self.versioned()
            else (_flat(one) for one in s3_client.list_latest(self.second, self.bucket, base))
        )
        for one in listed:
            name = one.key.removeprefix(base)
            if not name.startswith((PROBES, MARK)):
                found.setdefault(name, []).append(
                    Back(one.key, one.version_id, delete_marker=one.delete_marker, is_latest=one.is_latest)
                )
        return found

    def versions_of(self, name: str) -> list[str]:
        """The ids of all versions of one key of ours; none where the bucket keeps none."""
        if not self.versioned():
            return []
        key = self.key(name)
        listed = s3_client.list_versions(self.second, self.bucket, key)
        return [one.version_id for one in listed if one.key == key]

    def require(self, answer: Answer) -> Answer:
        """The answer, if it is a good one.

        Raises:
            DestinationError: it is not.
        """
        if not answer.ok:
            raise DestinationError(f"{self.name}: refused: {answer.code} {answer.message}".strip())
        return answer

    def _names(self) -> list[str]:
        base = self.key("")
        query = {"list-type": "2", "prefix": base, "max-keys": "50"}
        found = self.require(self.client.send("GET", query=query)).texts("Contents/Key")
        if not found and self.versioned():
            query = {"versions": "", "prefix": base, "max-keys": "50"}
            answer = self.require(self.client.send("GET", query=query))
            found = answer.texts("Version/Key") + answer.texts("DeleteMarker/Key")
        return [one.removeprefix(base) for one in found]


def _flat(one: dict[str, Any]) -> s3_client.Version:
    """An object of a bucket without versions, in the form of a version."""
    return s3_client.Version(
        key=one["Key"], version_id="null", sequence=0, is_latest=True, delete_marker=False, size=one["Size"],
        etag=one.get("ETag"), last_modified=one["LastModified"], storage_class=None,
    )  # fmt: skip
