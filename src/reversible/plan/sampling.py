"""How much of a very large table is compared? The keys of a [source.NAME] whose exporter can draw a sample."""

import secrets

from pydantic import BaseModel, Field

DEFAULT_ROWS = 30_000  # clean, they bound the mismatch rate at 0.0001, the catalogue's pass mark of DAT-04


class SamplingSettings(BaseModel):
    """What an exporter's `Settings` inherit when its witness can be a sample instead of the whole table."""

    sample_above_rows: int | None = Field(
        None,
        ge=1,
        description="tables with a key and more rows are compared by a sample: PARTIAL at best, never PROVEN",
    )
    sample_rows: int = Field(
        DEFAULT_ROWS, ge=1, description="rows to draw; a few more are, so that chance leaves no fewer"
    )
    seed: str | None = Field(
        None, min_length=1, max_length=200, description="what decides the draw; sealed; drawn at sealing when left out"
    )


def drawn_seed() -> str:
    """A seed that nobody chose: 128 bits, in hex."""
    return secrets.token_hex(16)
