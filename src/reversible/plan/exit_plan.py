"""What does a plan that was read answer to the rest of the line?"""

import fnmatch
import functools
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from reversible import secrets
from reversible.assets import Asset, Kind
from reversible.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from reversible.bundle.storage import Storage
    from reversible.interfaces import Exporter
    from reversible.plan.model import ExitPlan, Source
    from reversible.planted import Canary

# GOV-01, in its own order: "triggers, scenarios, roles, alternatives, steps, dates and success criteria".
EXIT_FIELDS = (
    "triggers",
    "scenarios",
    "roles",
    "alternatives",
    "steps",
    "duration_hours",
    "next_rehearsal",
    "success_criteria",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An exit plan, read and found right. It holds references to secrets and never a secret.

    Attributes:
        path: The file, as it was named.
        sha256: The digest of the file's bytes.
        written: The plan, typed.
        settings: The exporter's own keys of each [source.NAME], typed by the exporter.
    """

    path: Path
    sha256: str
    written: "ExitPlan"
    settings: "Mapping[str, BaseModel]"
    _document: Mapping[str, Any] = field(repr=False)

    @property
    def profiles(self) -> tuple[str, ...]:
        return self.written.clauses.profiles

    @property
    def flags(self) -> tuple[str, ...]:
        return self.written.clauses.flags

    @property
    def overrides(self) -> tuple[dict[str, Any], ...]:
        """The [[clauses.criterion]] tables, as JSON: clause, metric, value, basis and, where written, note."""
        return tuple(one.model_dump(mode="json", exclude_none=True) for one in self.written.clauses.criterion)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a person read in the contract, by metric."""
        return {
            metric: list(value) if isinstance(value, tuple) else value for metric, value in self.written.facts.items()
        }

    @property
    def duration_hours(self) -> float | None:
        """How long the exit takes by the written plan."""
        return self.written.exit.duration_hours

    @property
    def languages(self) -> tuple[str, ...]:
        return self.written.contract.languages

    def missing_exit_fields(self) -> tuple[str, ...]:
        """What GOV-01 asks a written plan to name and [exit] leaves out or empty: "exit.triggers"."""
        return tuple(f"exit.{name}" for name in EXIT_FIELDS if not getattr(self.written.exit, name))

    def seeds(self) -> dict[str, str]:
        """The seed of each source that may be sampled: the plan's, or one drawn now; sealed, it is the run's."""
        from reversible.plan.sampling import SamplingSettings, drawn_seed

        return {
            name: one.seed or drawn_seed()
            for name, one in self.settings.items()
            if isinstance(one, SamplingSettings) and one.sample_above_rows is not None
        }

    def sealed(self) -> dict[str, Any]:
        """The plan as one JSON document for the evidence: as written, references unresolved."""
        return cast("dict[str, Any]", json_values(self._document))

    def resolve(self, text: str, *, key: str = "", environ: Mapping[str, str] = os.environ) -> str:
        """`text` with its `${NAME}` references replaced, for the one call that needs it.

        Raises:
            UsageError: a variable is not set; the message names it and `key`.
        """
        return secrets.resolve(text, environ, key=key)

    def canaries(self, *, environ: Mapping[str, str] = os.environ) -> "list[Canary]":
        """The [[source.NAME.canary]] tables: what was planted before the run, references replaced.

        Raises:
            UsageError: a variable that one refers to is not set.
        """
        from reversible.planted import Canary

        found = []
        for name, source in self.written.source.items():
            for position, one in enumerate(source.canary):
                key = f"source.{name}.canary[{position}]"
                row: dict[str, str | int | bool | None] | None = None
                if one.row is not None:
                    row = {
                        column: value.reveal(environ, key=f"{key}.row.{column}")
                        if isinstance(value, secrets.Text)
                        else value
                        for column, value in one.row.items()
                    }
                    row |= dict.fromkeys(one.null)
                planted = (secrets.Text("") if text is None else text for text in (one.key, one.sha256))
                object_key, sha256 = (text.reveal(environ, key=key) for text in planted)
                found.append(Canary(source=name, asset=str(one.asset), row=row, key=object_key, sha256=sha256))
        return found

    @property
    def via(self) -> str:
        """How the bundle gets to an ssh host: "storage" where that can be signed for, else "ssh"."""
        written = self.written.destination
        return written.via or ("ssh" if written.storage is None else "storage")

    def describe_destination(self) -> dict[str, Any]:
        """The destination as written, without its keys."""
        written = self.written.destination
        storage = written.storage
        over_ssh = {"provider": written.provider, "host": written.host, "recheck": written.recheck, "via": self.via}
        return {
            "kind": written.kind,
            "country": written.country,
            **(over_ssh if written.kind == "ssh" else {}),
            "storage": None
            if storage is None
            else {"url": storage.url, "endpoint_url": storage.endpoint_url, "region": storage.region},
        }

    # --- what reaches out --------------------------------------------------------------------------------------

    def exporters(self, seeds: Mapping[str, str] = MappingProxyType({})) -> "dict[str, Exporter]":
        """One exporter for each [source.NAME], in the plan's order. Building one reaches nothing yet.

        Args:
            seeds: What the run sealed, see `seeds`.

        Raises:
            UsageError: a variable that the plan refers to is not set.
        """
        from reversible import registry

        built = {}
        for name, source in self.written.source.items():
            build = cast("Callable[[str, BaseModel], Exporter]", registry.exporter(source.kind))
            settings = self.settings[name]
            built[name] = build(name, settings.model_copy(update={"seed": seeds[name]}) if name in seeds else settings)
        return built

    def open_storage(self, *, below: str = "", environ: Mapping[str, str] = os.environ) -> "Storage | None":
        """The destination's storage; None when the plan names none.

        Args:
            below: A folder below the plan's URL: each run has its own, so that a plan can be run every night.
            environ: Where references are looked up.

        Raises:
            UsageError: a variable that the plan refers to is not set.
        """
        written = self.written.destination.storage
        if written is None:
            return None
        from reversible.bundle.storage import open_storage

        value = functools.partial(self._storage_value, environ=environ)
        return open_storage(
            "/".join(part for part in ((value("url") or "").rstrip("/"), below) if part),
            endpoint_url=value("endpoint_url"),
            region=value("region"),
            access_key=value("access_key"),
            secret_key=value("secret_key"),
            ca_bundle=None if (bundle := value("ca_bundle")) is None else str(self.path.parent / bundle),
        )

    def _storage_value(self, name: str, *, environ: Mapping[str, str]) -> str | None:
        reference: secrets.Secret | secrets.Text | None = getattr(self.written.destination.storage, name, None)
        return None if reference is None else reference.reveal(environ, key=f"destination.storage.{name}")

    def read_documents(self) -> list[dict[str, Any]]:
        """The [[document]] tables with each file's digest: the evidence says which bytes were read by whom.

        Raises:
            UsageError: a file is not there or cannot be read.
        """
        return [self._with_digest(position) for position in range(len(self.written.document))]

    def _with_digest(self, position: int) -> dict[str, Any]:
        written = self.written.document[position]
        file = self.path.parent / self.resolve(written.path, key=f"document[{position}].path")
        place = f"{self.path}: document[{position}].path: {file}"
        hint = f"ls -l {shlex.quote(str(file.parent))}"
        if file.exists() and not file.is_file():
            raise UsageError(f"{place} is not a file", hint=hint)
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                size = stream.tell()
        except OSError as error:
            raise UsageError(f"{place} cannot be read: {error.strerror}", hint=hint) from error
        return {**written.model_dump(mode="json"), "sha256": digest, "size_bytes": size}

    # --- what is in scope --------------------------------------------------------------------------------------

    def scope(self, asset: Asset) -> Asset:
        """The asset with the plan's decision: `excluded` holds the reason of the first exclusion that names it.

        An asset that no pattern names comes back as it is: `unlisted` says which these are.
        """
        for exclusion in self._source(asset).exclude:
            if matches(exclusion.pattern, asset):
                return replace(asset, excluded=str(exclusion.reason))
        return asset

    def unlisted(self, assets: Iterable[Asset]) -> tuple[Asset, ...]:
        """The assets that the plan neither includes nor excludes: the contract's annex has forgotten them."""
        return tuple(asset for asset in assets if not self._names(asset))

    def idle_patterns(self, assets: Sequence[Asset]) -> tuple[str, ...]:
        """The patterns that name no asset, "source.shop.include: 'shop.ordres'": a typing error, or something gone."""
        idle = []
        for name, source in self.written.source.items():
            own = [asset for asset in assets if asset.source == name]
            patterns = [("include", one) for one in source.include]
            patterns += [("exclude", one.pattern) for one in source.exclude]
            idle += [
                f"source.{name}.{key}: {str(pattern)!r}"
                for key, pattern in patterns
                if not any(matches(pattern, asset) for asset in own)
            ]
        return tuple(idle)

    def _names(self, asset: Asset) -> bool:
        source = self._source(asset)
        patterns = (*source.include, *(exclusion.pattern for exclusion in source.exclude))
        return any(matches(pattern, asset) for pattern in patterns)

    def _source(self, asset: Asset) -> "Source":
        return self.written.source[asset.source]


def matches(pattern: str, asset: Asset) -> bool:
    """Whether a pattern of the plan names the asset.

    `*`, `?` and `[...]` as in a shell, `*` over dots and slashes too, capitals as written. "table:public.*" means
    that kind only; any other pattern is held against the name alone.
    """
    kind, colon, rest = pattern.partition(":")
    if colon and kind in set(Kind):
        return asset.kind == kind and _pattern(rest).match(asset.name) is not None
    return _pattern(pattern).match(asset.name) is not None


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def json_values(value: object) -> object:
    """TOML's values as JSON's: dates and times become their ISO text."""
    if isinstance(value, Mapping):
        return {str(key): json_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) else str(getattr(value, "isoformat", value.__str__)())
