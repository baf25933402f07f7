"""A third party's exporter, as an entry point would bring it: keys of every sort, and no system behind."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from reversible import registry
from reversible.assets import Asset
from reversible.bundle.writer import BundleWriter
from reversible.interfaces import Reachability, Witness
from reversible.plan import Secret, Text


class Login(BaseModel):
    user: str
    key: Secret | None = None


class FileboxSettings(BaseModel):
    """The keys of a filebox."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Text = Field(description="where it answers", examples=["filebox://reader@box.example/"])
    password: Secret = Field(description="the reader's")
    port: int = Field(default=4711, ge=1, le=65535)
    mode: Literal["fast", "gentle"] = "gentle"
    cache: Path | None = None
    logins: dict[str, Login] = {}
    shelf: str = "all"

    @field_validator("shelf")
    @classmethod
    def _shelf_is_short(cls, shelf: str) -> str:
        if len(shelf) > 8:
            raise ValueError(f"a shelf is not called {shelf}")
        return shelf


class FileboxExporter:
    Settings = FileboxSettings

    def __init__(self, name: str, settings: FileboxSettings) -> None:
        self.name = name
        self.settings = settings

    @property
    def endpoints(self) -> tuple[str, ...]:
        return ()

    def check(self) -> Iterator[Reachability]:
        yield Reachability(subject=self.name, ok=False, seen="it is a fake")

    def discover(self) -> Iterator[Asset]:
        yield from ()

    def export(self, asset: Asset, into: BundleWriter) -> None:
        raise NotImplementedError

    def stands(self, asset: Asset, into: BundleWriter) -> bool:
        return True

    def witness(self, asset: Asset) -> Witness:
        raise NotImplementedError

    def close(self) -> None:
        pass


class LooseSettings(BaseModel):
    """Lets unknown keys pass and keeps a password in plain text: the plan must not."""

    password: str = ""
    size: int = 1


class LooseExporter(FileboxExporter):
    Settings = LooseSettings  # type: ignore[assignment]  # a careless plugin, on purpose


def install(monkeypatch: pytest.MonkeyPatch, *, ruin: bool = True) -> None:
    """Make filebox, loose and, with `ruin`, a plugin that cannot be loaded the only installed exporters."""
    points = [
        EntryPoint("filebox", f"{__name__}:FileboxExporter", "reversible.exporters"),
        EntryPoint("loose", f"{__name__}:LooseExporter", "reversible.exporters"),
        *([EntryPoint("ruin", f"{__name__}_that_is_gone:Exporter", "reversible.exporters")] if ruin else []),
    ]

    def entry_points(*, group: str) -> Any:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert __name__ in sys.modules
