"""What does the server's own tool say the schema is, or, without the tool, what do its SHOW CREATE statements?"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from reversible.errors import SourceError
from reversible_exporters import mysql_catalog
from reversible_exporters.mysql_session import Address, Session, quote

_TIMEOUT_S = 600.0
_PROGRAMS = ("mariadb-dump", "mysqldump")
_OPTIONS = (
    "--no-data", "--triggers", "--skip-dump-date", "--skip-comments", "--single-transaction", "--skip-lock-tables",
    "--no-tablespaces", "--default-character-set=utf8mb4", "--protocol=tcp",
)  # fmt: skip


def find(setting: Path | None, *, mariadb: bool) -> Path | None:
    """The dump program to run; None when there is none, and then `composed` does its work.

    Raises:
        SourceError: the plan names one that is not a program.
    """
    if setting is not None:
        if not os.access(setting, os.X_OK) or not setting.is_file():
            raise SourceError(f"dump: {setting} is not a program", hint='dump = "/usr/bin/mariadb-dump" in the plan')
        return setting
    for name in _PROGRAMS if mariadb else reversed(_PROGRAMS):
        found = shutil.which(name)
        if found is not None and (mariadb or not _is_mariadbs(found)):
            return Path(found)
    return None


def _is_mariadbs(program: str | Path) -> bool:
    """Whatever its name is: MariaDB's leaves MySQL's libraries out."""
    return "mariadb" in _run([str(program), "--version"]).stdout.decode(errors="replace").lower()


def schema(
    program: Path, address: Address, password: str | None, *, routines: bool, events: bool, without: Sequence[str] = ()
) -> bytes:
    """The schema as SQL.

    Args:
        program: mariadb-dump or mysqldump.
        address: The server and the database.
        password: Handed over through a pipe: neither an argument nor in the environment.
        routines: Whether the user may see the procedures and functions.
        events: Whether the user may see the events.
        without: Tables and views to leave out, because the user may not read them.

    Raises:
        SourceError: the program failed.
    """
    from_mariadb = _is_mariadbs(program)
    options = [*_OPTIONS, *(["--routines"] if routines else []), *(["--events"] if events else [])]
    options += [f"--ignore-table={address.database}.{name}" for name in without]
    options += [] if from_mariadb else ["--set-gtid-purged=OFF", "--column-statistics=0"]
    lines = {"host": address.host, "port": str(address.port), "user": address.user, "password": password or ""}
    text = "[client]\n" + "".join(f'{name}="{_escaped(value)}"\n' for name, value in lines.items() if value)
    done = _run(
        [str(program), *options, *_tls(address, from_mariadb=from_mariadb), "--", address.database], secret=text
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        said = words[0] if words else f"exit status {done.returncode}"
        if password:
            said = said.replace(password, "***")
        raise SourceError(f"{program.name} failed: {said.removeprefix(f'{program.name}: ')}")
    return done.stdout


def composed(session: Session, *, routines: bool, events: bool, without: Sequence[str] = ()) -> bytes:
    """The same from the server's SHOW CREATE statements, in an order in which they can be run."""
    listed = session.rows(f"SHOW FULL TABLES FROM {quote(session.database)}")
    of = {"tables": [], "views": [], "sequences": []}  # type: dict[str, list[str]]
    for name, kind in sorted(listed):
        if name not in without:
            of[{"VIEW": "views", "SEQUENCE": "sequences"}.get(kind, "tables")].append(name)
    plain = [_created(session, "SEQUENCE", name) for name in of["sequences"]]
    plain += [f"DO SETVAL({quote(name)}, {_next(session, name)}, 0)" for name in of["sequences"]]
    plain += [_created(session, "TABLE", name) for name in of["tables"]]
    bodies: list[str] = []
    where = f"FROM {quote(session.database)}"
    if routines:
        bodies += [_created(session, "LIBRARY", name) for name in mysql_catalog.libraries(session)]
        for kind in ("FUNCTION", "PROCEDURE"):
            names = session.rows(f"SHOW {kind} STATUS WHERE Db = %s", (session.database,))
            bodies += [_created(session, kind, name) for _, name, *_ in names]
    views = [_unqualified(session, _created(session, "VIEW", name)) for name in _in_order(session, of["views"])]
    bodies += [_created(session, "TRIGGER", row[0]) for row in session.rows(f"SHOW TRIGGERS {where}")]
    if events:
        bodies += [_created(session, "EVENT", row[1]) for row in session.rows(f"SHOW EVENTS {where}")]
    script = ["SET NAMES utf8mb4;", "SET FOREIGN_KEY_CHECKS=0;", *(f"{one};" for one in [*plain, *views])]
    script += ["DELIMITER ;;", *(f"{one} ;;" for one in bodies), "DELIMITER ;"]
    return ("\n".join(script) + "\n").encode()


def _created(session: Session, kind: str, name: str) -> str:
    found = mysql_catalog.create_statement(session, kind, name)
    if found is None:
        raise SourceError(
            f"{kind.lower()} {name}: its definition is hidden from {session.role}", hint=mysql_catalog.grant(session)
        )
    return found


def _next(session: Session, name: str) -> int:
    found = session.rows(f"SELECT next_not_cached_value FROM {quote(session.database)}.{quote(name)}")  # noqa: S608
    return int(found[0][0])


def _unqualified(session: Session, definition: str) -> str:
    return definition.replace(f"{quote(session.database)}.", "")


def _in_order(session: Session, views: Sequence[str]) -> list[str]:
    """Views after those that they name."""
    texts = {name: _created(session, "VIEW", name) for name in views}
    done: list[str] = []

    def place(name: str, above: tuple[str, ...] = ()) -> None:
        if name in done or name in above:
            return
        for other in views:
            if other != name and quote(other) in texts[name]:
                place(other, (*above, name))
        done.append(name)

    for name in views:
        place(name)
    return done


def _tls(address: Address, *, from_mariadb: bool) -> list[str]:
    authority = [f"--ssl-ca={address.ssl_ca}"] if address.ssl_ca else []
    if from_mariadb:
        mode = {"off": ["--skip-ssl"], "encrypt": ["--ssl", "--skip-ssl-verify-server-cert"]}
        return mode.get(address.tls, ["--ssl", "--ssl-verify-server-cert"]) + authority
    # Without TLS, caching_sha2_password sends the password under a key that the server gives, when it is asked for it.
    mode = {"off": ["--ssl-mode=DISABLED", "--get-server-public-key"], "encrypt": ["--ssl-mode=REQUIRED"]}
    return mode.get(address.tls, ["--ssl-mode=VERIFY_IDENTITY"]) + authority


def _escaped(value: str) -> str:
    """A value of an option file: within quotes, a backslash escapes."""
    return re.sub(r'(["\\])', r"\\\1", value).replace("\n", "\\n")


def _run(command: Sequence[str], *, secret: str = "") -> "subprocess.CompletedProcess[bytes]":
    """Run it with an option file that exists only as a pipe."""
    reading, writing = os.pipe()
    try:
        with open(writing, "w", encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor, not a path
            pipe.write(secret)  # far below the pipe's 64 KiB
        first, *rest = command
        options = [f"--defaults-extra-file=/dev/fd/{reading}"] if secret else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MYSQL", "MARIADB"))}
        return subprocess.run(
            [first, *options, *rest], stdin=subprocess.DEVNULL, capture_output=True, env=environment,
            timeout=_TIMEOUT_S, check=False, pass_fds=[reading],
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} gave no answer in {_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise SourceError(f"{command[0]} cannot be run: {error.strerror}") from error
    finally:
        os.close(reading)
