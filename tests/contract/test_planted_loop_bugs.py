"""A bug in a compiled loop of the exporter is caught by the witness, which reads the server by another route."""

import ctypes
from pathlib import Path

import pytest
from test_planted_decoder_bugs import TABLE, exported, server

from reversible_exporters import postgres_loops
from reversible_samples.postgres_server import PostgresServer

pytestmark = pytest.mark.slow
__all__ = ["server"]


COLUMNS = {  # which column of the table, and the form in which the loop writes its values
    "vu_le": (3, ctypes.c_int64), "saisi_le": (4, ctypes.c_int64), "stock": (7, ctypes.c_int64),
    "fin": (9, ctypes.c_int32), "poids": (1, ctypes.c_uint8), "prix": (2, ctypes.c_uint8), "code": (6, ctypes.c_int32),
}  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_a_bug_in_a_compiled_loop_is_caught(
    column: str, server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = postgres_loops.loops(1 << 40)
    assert real is not None
    number, kind = COLUMNS[column]

    def off_by_one(*given: int) -> int:
        """The first value of one column is another by one."""
        found = real["columns"](*given)
        place = given[5] + (number * postgres_loops.PROGRAM + postgres_loops.OUT) * 8
        value = kind.from_address(ctypes.c_int64.from_address(place).value)
        value.value ^= 1
        return found

    monkeypatch.setattr(postgres_loops, "loops", lambda size: {**real, "columns": off_by_one})
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
    assert set(used) == {"receive", "split", "columns"}
