"""A bug in a compiled loop of the exporter is caught by the witness, which reads the server by another route."""

import ctypes
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import pytest
from test_planted_decoder_bugs import TABLE, exported, server

from reversible.machine_code import Loop
from reversible_exporters import postgres_loops
from reversible_samples.postgres_server import PostgresServer

pytestmark = pytest.mark.slow
__all__ = ["server"]


def off_by_one(loops: Mapping[str, Loop], name: str, turn: int) -> Mapping[str, Loop]:
    """The compiled loops, where one, called for the `turn`th column, writes a value that is another by one."""
    kind = {"codes": ctypes.c_int32, "dates": ctypes.c_int32, "texts": ctypes.c_uint8}.get(name, ctypes.c_int64)
    turns = count()

    def faulty(*given: int) -> int:
        found = loops[name](*given)
        if next(turns) == turn:
            rows, out = given[4], given[5]
            last = 0 if name == "texts" else rows - 1  # of texts, whose sizes vary, the first byte
            one = kind.from_address(out + last * ctypes.sizeof(kind))
            one.value = one.value ^ 1
        return found

    return {**loops, name: faulty}


@pytest.mark.parametrize(
    ("loop", "turn", "column"),
    [
        ("integers", 1, "stock"), ("timestamps", 0, "vu_le"), ("timestamps", 1, "saisi_le"), ("dates", 0, "fin"),
        ("texts", 0, "poids"), ("texts", 1, "prix"), ("codes", 1, "code"),
    ],
)  # fmt: skip
def test_a_bug_in_a_compiled_loop_is_caught(
    loop: str, turn: int, column: str, server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = postgres_loops.loops(1 << 40)
    assert real is not None
    monkeypatch.setattr(postgres_loops, "loops", lambda size: off_by_one(real, loop, turn))
    findings = exported(server, tmp_path / "bundle")

    places = [place for finding in findings if finding.value for place in finding.places]
    assert len(places) == 1
    assert places[0].startswith(f"{TABLE}.{column} [id=")


def test_without_a_bug_the_compiled_loops_are_used_and_nothing_is_said(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = postgres_loops.loops(1 << 40)
    assert real is not None
    used: list[str] = []
    counted = {name: lambda *given, name=name: used.append(name) or real[name](*given) for name in real}
    monkeypatch.setattr(postgres_loops, "loops", lambda size: counted)

    assert not any(finding.value for finding in exported(server, tmp_path / "bundle"))
    assert set(used) == {"receive", "split", "integers", "dates", "timestamps", "texts", "codes"}
