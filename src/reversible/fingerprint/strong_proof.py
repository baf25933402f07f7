"""Was this record in the export, so many times? Checked with hashlib alone: see docs/fingerprint-strong.md."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

FORMAT = "reversible-strong-proof/1"
LEVELS = 16  # bits of a digest that choose its leaf range
RANGES = 1 << LEVELS

# RFC 9162 section 2.1.1 sets leaves (00) and nodes (01) apart, so that no row can be taken for a node.
_ROW, _NODE, _RANGE, _ROOT = b"\x00", b"\x01", b"\x02", b"\x03"


@dataclass(frozen=True)
class Proof:
    """The leaf range where a record's digest belongs, and the way from there to the root.

    Attributes:
        columns: Name and family, in the order of the names.
        rows: Rows of the table.
        record: The record's canonical bytes.
        digests: All digests of the range, in order, each with the number of rows that have it.
        path: The 16 hashes beside the way, from the bottom.
    """

    columns: tuple[tuple[str, str], ...]
    rows: int
    record: bytes
    digests: tuple[tuple[bytes, int], ...]
    path: tuple[bytes, ...]

    @property
    def times(self) -> int:
        """How many rows are this record: 0 when none is."""
        return dict(self.digests).get(hashlib.sha256(_ROW + self.record).digest(), 0)

    @property
    def root(self) -> str:
        """The root that the proof leads to."""
        at = int.from_bytes(hashlib.sha256(_ROW + self.record).digest()[:2], "big")
        top = range_hash(b"".join(one + count.to_bytes(8, "big") for one, count in self.digests))
        for n, beside in enumerate(self.path):
            top = node(beside, top) if at >> n & 1 else node(top, beside)
        return root_hash(self.columns, self.rows, top).hex()

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT, "root": self.root, "rows": self.rows, "times": self.times, "record": self.record.hex(),
            "columns": [{"name": name, "family": family} for name, family in self.columns],
            "range": [[digest.hex(), count] for digest, count in self.digests],
            "path": [one.hex() for one in self.path],
        }  # fmt: skip

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `to_json` gave; `root` and `times` are computed again, never believed.

        Raises:
            ValueError: it is not a proof.
        """
        try:
            if document["format"] != FORMAT:
                raise ValueError(f"proof {document['format']!r} is not {FORMAT}")
            return cls(
                tuple((one["name"], one["family"]) for one in document["columns"]), int(document["rows"]),
                bytes.fromhex(document["record"]), tuple((bytes.fromhex(one), int(n)) for one, n in document["range"]),
                tuple(bytes.fromhex(one) for one in document["path"]),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a proof: {error}") from error


def verify_proof(root: str, rows: int, record: bytes, proof: Proof) -> int:
    """How many times the record is among the `rows` rows below `root`; 0: it is not among them.

    Raises:
        ValueError: the proof does not lead to this root, or is one for another record or table.
    """
    if proof.record != record or proof.rows != rows:
        raise ValueError("the proof is about another record, or another number of rows")
    digests = [digest for digest, _ in proof.digests]
    at = hashlib.sha256(_ROW + record).digest()[:2]
    if digests != sorted(set(digests)) or any(len(one) != 32 or one[:2] != at for one in digests):
        raise ValueError("the proof's digests are not one sorted range, where the record belongs")
    if any(count < 1 for _, count in proof.digests):
        raise ValueError("the proof counts a digest less than once")
    if len(proof.path) != LEVELS or any(len(one) != 32 for one in proof.path) or proof.root != root:
        raise ValueError("the proof does not lead to the root")
    return proof.times


def range_hash(entries: bytes) -> bytes:
    """The hash of one leaf range: its different digests in order, each followed by its number of rows, 8 bytes."""
    return hashlib.sha256(_RANGE + entries).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def root_hash(columns: Sequence[tuple[str, str]], rows: int, top: bytes) -> bytes:
    """What the root fixes: the names and families of the columns, the number of rows, the tree."""
    texts = [text.encode() for column in columns for text in column]
    said = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    return hashlib.sha256(
        _ROOT + len(columns).to_bytes(4, "big") + said + rows.to_bytes(8, "big") + top
    ).digest()  # fmt: skip
