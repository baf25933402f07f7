"""Which destination does a plan name, and what does it need?"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reversible import providers
from reversible.destinations import identity
from reversible.destinations.isolation import RUN_METRICS
from reversible.destinations.local import LocalDestination
from reversible.destinations.ssh import SshDestination
from reversible.errors import UsageError
from reversible.evidence import keys
from reversible.kit.manifest import Kit
from reversible.plan import Plan

if TYPE_CHECKING:
    from reversible.bundle.s3 import S3Storage

Destination = LocalDestination | SshDestination
_NONCE = "identity-nonce.txt"


def run_metrics(plan: Plan) -> tuple[str, ...]:
    """What the plan's destination measures of the run as a whole."""
    return RUN_METRICS if plan.written.destination.kind == "local" else tuple(sorted({*RUN_METRICS, *identity.METRICS}))


def destination(plan: Plan, *, run_id: str, criteria: Sequence[Mapping[str, Any]], timeout_s: float) -> Destination:
    """The plan's destination; nothing is reached yet.

    Args:
        run_id: The folder of this run in the destination's storage.
        criteria: The sealed ones.
        timeout_s: Wall-clock seconds for the re-run.

    Raises:
        UsageError: the kit is not there.
        BundleError: the kit is none.
    """
    written = plan.written.destination
    if written.kind == "local":
        return LocalDestination(timeout_s=timeout_s)
    if written.provider is not None and written.provider not in {one.id for one in providers.load().providers}:
        raise UsageError(
            f"{plan.path}: destination.provider: no provider is called {written.provider!r}",
            hint="reversible providers",
        )
    assert written.host is not None and written.kit is not None  # noqa: S101, PT018 - the plan was checked
    beside = plan.path.parent
    signer = written.kit_signer.reveal() if written.kit_signer else keys.load_or_create().fingerprint
    return SshDestination(
        host=written.host,
        config=beside / written.ssh_config.reveal() if written.ssh_config else None,
        kit=Kit.read(beside / written.kit.reveal()),
        signer=signer,
        folder=written.folder,
        keep=written.keep,
        urls=_urls(plan, run_id),
        questions=identity.Questions(
            provider=written.provider, leaving=str(plan.written.contract.provider),
            anchor=str(written.anchor) if written.anchor else None, echo=_echo(plan, run_id),
        ),
        recheck=written.recheck,
        criteria=criteria,
        timeout_s=timeout_s,
    )  # fmt: skip


def _echo(plan: Plan, run_id: str) -> identity.Echo | None:
    """The nonce's way through the storage: beside the run's folder, which holds the bundle and nothing else."""
    storage = plan.written.destination.storage
    if storage is None:
        return None
    opened = _storage(plan, f"{run_id}-identity")
    endpoint = storage.endpoint_url.reveal() if storage.endpoint_url else None

    def read_back() -> bytes:
        with tempfile.TemporaryDirectory(prefix="reversible-") as scratch:
            came = Path(scratch) / "nonce"
            opened.get(_NONCE, came)
            return came.read_bytes()[:1000]

    return identity.Echo(
        sign=lambda: opened.signed_url("PUT", _NONCE),
        read_back=read_back,
        place=providers.place_of(providers.load(), endpoint_url=endpoint, region=storage.region.reveal()),
        verified_tls=endpoint is None or urlsplit(endpoint).scheme == "https",
    )


def _urls(plan: Plan, run_id: str) -> Callable[[str], str] | None:
    if plan.via == "ssh":
        return None
    opened = _storage(plan, run_id)
    return lambda path: opened.signed_url("GET", path)


def _storage(plan: Plan, below: str) -> "S3Storage":
    from reversible.bundle.s3 import S3Storage  # a local run needs none of it

    opened = plan.open_storage(below=below)
    assert isinstance(opened, S3Storage)  # noqa: S101 - a plan's storage is s3://
    return opened
