"""What must its owner be able to take away?"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Kind(StrEnum):
    """The kinds of asset; the value is also the folder's name in a bundle."""

    TABLE = "table"
    DATABASE = "database"  # everything of a database that is not rows: schema, views, sequences, comments
    OBJECTS = "objects"  # one object collection: a bucket or a prefix of it
    MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One thing its owner must be able to take away, named as the owner knows it.

    `obstacle` says why it cannot leave; None means that it can. `excluded` is the plan's reason for leaving it
    behind; None means that it is in scope. `rows` and `size_bytes` are the source's own figures, None when it
    gives none.
    """

    source: str
    kind: Kind
    name: str
    rows: int | None = None
    size_bytes: int | None = None
    obstacle: str | None = None
    excluded: str | None = None

    @property
    def id(self) -> str:
        """Unique in a run, stable between runs: "shop:table:public.orders"."""
        return f"{self.source}:{self.kind}:{self.name}"

    @property
    def slug(self) -> str:
        """The asset's file name: safe on any file system, unique, readable. Vendor names never become paths."""
        readable = re.sub(r"[^a-z0-9._]+", "-", f"{self.source}.{self.name}".lower()).strip("-.")[:60]
        return f"{readable or 'asset'}-{hashlib.sha256(self.id.encode()).hexdigest()[:10]}"

    @property
    def folder(self) -> str:
        """Where it lies in a bundle, relative to the bundle's root."""
        return f"data/{self.kind}/{self.slug}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{**document, "kind": Kind(document["kind"])})
