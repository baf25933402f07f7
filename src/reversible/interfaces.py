"""What must a plugin be able to do?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from reversible.assets import Asset, Kind
from reversible.findings import Finding

if TYPE_CHECKING:
    import pyarrow as pa

    from reversible.bundle.reader import Bundle
    from reversible.bundle.writer import BundleWriter


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What the source says about an asset by another route than the export.

    An exporter's bug must not be able to hide in both. `method` names the route; `facts` are control totals
    (JSON values); `tables` are larger records, each written as one Parquet file beside the facts.
    """

    method: str
    facts: Mapping[str, Any]
    tables: Mapping[str, "pa.Table"] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reachability:
    """One answer of `check`: what was tried, whether it worked, and what to type when it did not."""

    subject: str
    ok: bool
    seen: str
    hint: str = ""


class Exporter(Protocol):
    """Reads one vendor system, and only reads. Built as `Exporter(name, settings)`; importing it costs nothing.

    - It names every asset, also what cannot leave, with the reason, in a stable order.
    - It raises SourceError for what the vendor refuses; it never passes over anything in silence.
    - No secret leaves it: not in a `repr`, a log or a bundle.
    """

    Settings: ClassVar[type[BaseModel]]  # the keys of [source.NAME], validated with the plan

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The "host:port" it talks to: the re-run must not be able to reach them."""
        ...

    def check(self) -> Iterator[Reachability]:
        """Reach the system and every right that an export needs; read as little as possible."""
        ...

    def discover(self) -> Iterator[Asset]:
        """Name every asset, once."""
        ...

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """Write the asset's files: streaming, resumable by part, in bounded memory."""
        ...

    def stands(self, asset: Asset, into: "BundleWriter") -> bool:
        """Whether a finished asset of an interrupted run still is what one consistent reading would give now.

        A source without snapshots answers True: its assets were never of one moment, and the bundle says so.
        """
        ...

    def witness(self, asset: Asset) -> Witness:
        """Ask the source again, by another route. Called right after the asset's export, on the same snapshot."""
        ...

    def close(self) -> None:
        """Give connections and snapshots back."""
        ...


@runtime_checkable
class BeginsAhead(Protocol):
    """An exporter with slow work that depends on no other asset: it may begin before its asset's turn."""

    def begin(self, assets: Sequence[Asset], into: "BundleWriter") -> None:
        """Its assets that will be exported, in their order. What fails is raised by the asset's own `export`."""
        ...


class Verifier(Protocol):
    """Answers one question about one asset, from the bundle alone.

    - It opens no socket and imports nothing of the vendor's.
    - Same bundle, same findings: no clock, no randomness. Of time alone a clock is the only witness (ADR 28).
    - What it cannot read it leaves to the caller: raise, never pass.
    """

    @property
    def metrics(self) -> frozenset[str]:
        """Catalogue ids it measures, all of them for every asset of its kinds: clauses quote them."""
        ...

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of asset it looks at: kinds x metrics are the planned checks, each answered exactly once."""
        ...

    def verify(self, asset: Asset, bundle: "Bundle") -> Iterator[Finding]:
        """Yield one finding per metric."""
        ...


@dataclass(frozen=True, kw_only=True)
class Restored:
    """One step of a restore: what was put back, what the target refused, or how a comparison ended.

    Attributes:
        step: "schema", "rows", "sequence", "objects", "refresh": something was put back. "totals", "values": the
            target was compared with the witness. "note", "resume": only said.
        subject: What it is about, as its owner knows it.
        ok: False: the target refused it or, in a comparison, differs. None: it could not be compared.
        seen: What the target said, or both sides of a difference.
        rows: How many rows it was about; None where there are none.
    """

    step: str
    subject: str
    ok: bool | None = True
    seen: str = ""
    rows: int | None = None

    def refused(self, seen: str) -> "Restored":
        """The same step, refused by the target in its own words."""
        return replace(self, ok=False, seen=seen)


class Restorer(Protocol):
    """Puts a database of a bundle back on its feet. Built as `Restorer(url, **options)`; importing it costs nothing.

    - It never overwrites: a target that holds something is refused unless the caller says otherwise.
    - What the target cannot take is yielded, one step each, and the rest goes on.
    - The same call takes an interrupted restore up.
    - It ends with comparisons against the witness, made by the target's own engine.
    """

    @property
    def source_types(self) -> frozenset[str]:
        """What database.json may say in "source_type"."""
        ...

    def restore(self, bundle: "Bundle", database: Asset, tables: Sequence[Asset]) -> Iterator[Restored]:
        """Restore the database's schema and the rows of `tables`, and compare.

        Raises:
            DestinationError: the target cannot be reached, or went away.
        """
        ...


class Converter(Protocol):
    """Turns a vendor's model into ONNX. Runs in a process of its own, without network and credentials."""

    @property
    def executes_vendor_code(self) -> bool:
        """Whether opening the model can run code that came with it (pickle): recorded in the bundle."""
        ...

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """What of a package it can take, judged by the names of its files alone.

        Args:
            names: Every file of the package: "model.pt2", "code/inference.py".

        Returns:
            Files, or folders that are one model as a whole: "." or "export/1".
        """
        ...

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target` (an .onnx file) from a file or folder of `sources`; files for its processing go beside it.

        Returns:
            What the report must know: framework, versions, opset, names.

        Raises:
            SourceError: the model cannot be converted; the message says which part and why.
        """
        ...


@runtime_checkable
class SharesStart(Protocol):
    """A converter whose framework takes seconds to load: models that are converted at the same time may share that."""

    def prepare(self) -> None:
        """Load what every conversion needs. It looks at no model and leaves no thread: the process forks next."""
        ...
