"""Do the servers of every supported version start, and are they what they say?"""

import psycopg
import pytest

from postgres_versions import MAJORS, ServerOf


@pytest.mark.slow
@pytest.mark.parametrize("major", MAJORS)
def test_a_server_of_each_version_starts(postgres_of: ServerOf, major: int) -> None:
    server = postgres_of(major)
    with psycopg.connect(server.url) as connection:
        (version,) = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone() or (0,)

    assert version == major
    assert server.pg_dump.exists()
