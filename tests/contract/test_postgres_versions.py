"""Do the servers of every supported version start, and are they what they say?"""

import shutil
from pathlib import Path

import psycopg
import pytest

import postgres_versions
from postgres_versions import MAJORS, ServerOf
from reversible_exporters import postgres_catalog
from reversible_exporters.postgres_session import Session


@pytest.mark.slow
@pytest.mark.parametrize("major", MAJORS)
def test_a_server_of_each_version_starts(postgres_of: ServerOf, major: int) -> None:
    server = postgres_of(major)
    with psycopg.connect(server.url) as connection:
        (version,) = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone() or (0,)

    assert version == major
    assert server.pg_dump.exists()


@pytest.mark.slow
@pytest.mark.parametrize("major", MAJORS)
def test_each_version_tells_by_which_rules_a_database_sorts(postgres_of: ServerOf, major: int) -> None:
    session = Session.open(postgres_of(major).url, None, connect_timeout_s=10, statement_timeout_s=0)
    known, seen = postgres_catalog.locale(session.rows), postgres_catalog.witnessed_locale(session)
    on_disk = session.on_disk
    session.close()

    assert known == {
        "encoding": "UTF8", "provider": "builtin" if major >= 17 else "libc", "collate": "C", "ctype": "C",
        "locale": "C.UTF-8" if major >= 17 else None, "rules": None, "version": "1" if major >= 17 else None,
    }  # fmt: skip
    assert seen == {"encoding": "UTF8", "collate": "C", "ctype": "C"}
    assert on_disk


@pytest.mark.parametrize(("needed", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_server_that_cannot_be_had_is_skipped_but_never_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("REVERSIBLE_TESTS_NEED_POSTGRES_VERSIONS", needed)
    monkeypatch.setenv("REVERSIBLE_POSTGRES_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(outcome, match="need npm"):
        postgres_versions.programs(14)
