"""How does a real MySQL come up on this machine, for tests and benchmarks, without an account or a container?

From the programs of MySQL's or a distribution's own packages, installed or only unpacked; no wheel carries them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from reversible.errors import SourceError
from reversible_samples.mariadb_server import MariaDBServer, account


class MySQLServer(MariaDBServer):
    """One throw-away MySQL, like the MariaDB beside it. Passwords are checked by caching_sha2_password.

    Args:
        directory: Where its data and log lie; made if missing. Data that an earlier run left there is removed.
        programs: The folder that holds mysqld; default: the PATH and where distributions keep servers.
        database: The database that `url` names; utf8mb4.
        password: The administrator's password; drawn when not given.
        options: Further options of `mysqld`, as "--name=value".

    Raises:
        SourceError: MySQL is not installed, or does not start; the message holds the log's last line.
    """

    product = "MySQL"
    _greeting = b"caching_sha2_password"

    def __init__(
        self, directory: Path, *, programs: Path | None = None, database: str = "comptoir",
        password: str | None = None, options: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(directory, database=database, password=password, options=options)
        self._programs = programs

    def program(self, name: str) -> Path:
        places = (str(self._programs),) if self._programs else (None, "/usr/sbin", "/usr/local/mysql/bin")
        found = next((path for place in places if (path := shutil.which(name, path=place))), None)
        if found is None:
            raise SourceError(f"{name} is not in {self._programs or 'the PATH'}", hint="the package mysql-server-core")
        return Path(found)

    def _making(self, data: Path) -> list[str]:
        return [
            str(self.program("mysqld")), "--no-defaults", "--initialize-insecure", f"--datadir={data}", *account(),
            "--innodb-redo-log-capacity=8M",
        ]  # fmt: skip

    def _serving(self) -> list[str]:
        return [
            str(self.program("mysqld")), "--no-defaults", "--mysqlx=OFF", "--disable-log-bin",
            "--performance-schema=OFF", "--secure-file-priv=NULL",
            "--innodb-redo-log-capacity=32M",
        ]  # fmt: skip
