"""How must this storage be spoken to? As it was found, not as its make is believed to be."""

from dataclasses import dataclass
from typing import Any, Literal

from reversible.storage_doctor.doctor import Examination

Checksum = Literal["sha256", "crc32", "md5", "signature", "none"]
_USUAL = 16 << 20  # bytes of a part, where nothing asks for more: eight of them are in memory at once
_LARGEST = 5 << 30  # READ (AWS, "Multipart upload limits"): of a part
_FEW = 1_000  # parts that every server takes (READ: Scaleway's limit; the smallest that providers publish)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a client needs to know.

    Attributes:
        virtual: The bucket is part of the host name, not of the path.
        checksum: The digest that travels with an upload, because a wrong one was refused here; "none": the server
            refuses no wrong digest at all, and only reading back shows what it kept.
        parts: How many parts an object may have.
        ranges: Whether the rest of a broken download can be asked for.
        trailers: Whether vendors' clients may send checksums after the bytes, as they do by default since 2025.
    """

    virtual: bool
    checksum: Checksum
    parts: int
    ranges: bool
    trailers: bool

    @classmethod
    def of(cls, found: Examination, *, virtual: bool) -> "Settings":
        """From an examination that went through the address `virtual` says."""
        order: tuple[tuple[Checksum, tuple[str, ...]], ...] = (
            ("sha256", ("sha256", "sha256.wrong")),
            ("md5", ("md5", "md5.wrong")),
            ("crc32", ("crc32", "crc32.wrong")),
            ("signature", ("put", "payload.wrong")),
        )
        numbers = found["multipart.numbers"].facts.get("number", _FEW)
        return cls(
            virtual=virtual,
            checksum=next((name for name, both in order if found.works(*both)), "none"),
            parts=int(numbers) if found.works("multipart.numbers") and numbers == 10_000 else _FEW,
            ranges=found.works("range"),
            trailers=found.works("trailer"),
        )

    def part_bytes(self, size: int) -> int:
        """Bytes of a part of an object of `size` bytes: whole MiB, so that the number of parts is kept to.

        Raises:
            ValueError: no part size lets it through.
        """
        least = -(-size // self.parts)
        chosen = max(_USUAL, -(-least // (1 << 20)) << 20)
        if chosen > _LARGEST:
            raise ValueError(f"{size} bytes do not fit in {self.parts} parts")
        return chosen

    def to_json(self) -> dict[str, Any]:
        return {
            "addressing": "host" if self.virtual else "path",
            "checksum": self.checksum,
            "parts": self.parts,
            "ranges": self.ranges,
            "integrity_headers": "when_supported" if self.trailers else "when_required",
        }
