"""Which fixtures do several kinds of tests share?

Hypothesis draws other cases every time. `HYPOTHESIS_PROFILE=fixed` draws the same ones: a submission is judged by the
same cases as the run before it; what a random run then finds becomes a test of its own.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from postgres_versions import ServerOf, programs
from reversible_samples.postgres_server import PostgresServer

settings.register_profile("fixed", derandomize=True)
if "HYPOTHESIS_PROFILE" in os.environ:
    settings.load_profile(os.environ["HYPOTHESIS_PROFILE"])


@pytest.fixture(scope="session")
def postgres_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerOf]:
    """`postgres_of(14)`: a running PostgreSQL 14, the same one for the whole session; each test makes its database."""
    running: dict[int, PostgresServer] = {}
    with ExitStack() as stack:

        def server(major: int) -> PostgresServer:
            if major not in running:
                folder: Path = tmp_path_factory.mktemp(f"postgres-{major}")
                running[major] = stack.enter_context(PostgresServer(folder, programs=programs(major)))
            return running[major]

        yield server
