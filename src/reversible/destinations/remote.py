"""How does an independent host re-run a bundle for somebody else?

`python -m reversible.destinations.remote BUNDLE_DIR INTO_DIR --source HOST:PORT` is what an ssh line starts on the
host, from the kit installed there: the local destination of that host, fence and all. Progress goes to standard
output, one JSON object per line; the account of it all to INTO_DIR/account.json. Exit status: that of the error.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reversible.bundle.writer import json_bytes
from reversible.destinations import account
from reversible.destinations.local import LocalDestination
from reversible.errors import ReversibleError


def main() -> int:
    arguments = _arguments()
    destination = LocalDestination(timeout_s=arguments.timeout_s)
    try:
        rerun = destination.rerun(
            arguments.bundle, sources=arguments.source, into=arguments.into, on_event=_tell
        )  # fmt: skip
    except ReversibleError as error:
        print(error.message + (f" (try: {error.hint})" if error.hint else ""), file=sys.stderr)
        return error.exit_status
    (arguments.into / "account.json").write_bytes(json_bytes(account.to_json(rerun.observed, rerun.isolation)))
    return 0


def _tell(event: Mapping[str, Any]) -> None:
    print(json.dumps(event, ensure_ascii=True), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reversible.destinations.remote", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE_DIR")
    parser.add_argument("into", type=Path, metavar="INTO_DIR")
    parser.add_argument("--source", action="append", default=[], metavar="HOST:PORT", help="must not be reachable")
    parser.add_argument("--timeout-s", type=float, default=None, metavar="SECONDS")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
