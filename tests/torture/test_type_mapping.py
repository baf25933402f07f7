"""Does docs/type-mapping.md say what the code does?"""

import os
from contextlib import closing
from pathlib import Path

import type_mapping
import type_table
from round_trip import Database

from postgres_versions import ServerOf
from reversible_exporters.postgres_session import Session

PAGE = Path(__file__).parents[2] / "docs/type-mapping.md"


def test_the_page_holds_the_codes_own_mapping(postgres_of: ServerOf) -> None:
    """REVERSIBLE_REWRITE=1 rewrites the page's table instead."""
    database = Database(postgres_of(18))
    types = [one for one in type_table.TYPES if one.needs != "libxml"]
    with database.connected() as connection:
        for statement in type_table.script(types, 18):
            if not statement.startswith("INSERT"):
                connection.execute(statement.encode())
    session = Session.open(database.url, database.server.password, connect_timeout_s=10, statement_timeout_s=0)
    with closing(session):
        expected = type_mapping.replaced(
            PAGE.read_text(encoding="utf-8"), type_mapping.rendered(type_mapping.columns(session))
        )

    if os.environ.get("REVERSIBLE_REWRITE"):
        PAGE.write_text(expected, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == expected
    assert type_mapping.BEGIN in expected
