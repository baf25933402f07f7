"""What does this S3 server do, when it is tried? One task on stdin, one list of answers on stdout (JSON).

A process of its own: the S3 client reads how it must treat checksum headers from the environment when it starts.
Each answer: step, ok, seen (the client's words), needed (whether a run can do without it).
"""

import json
import secrets
import sys
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Answer the task on stdin."""
    from pyarrow import fs

    task = json.loads(sys.stdin.read())
    base, probes = task.pop("base"), task.pop("probes")
    json.dump(answers(fs, task, f"{base}{probes}{secrets.token_hex(8)}"), sys.stdout)


def answers(fs: Any, options: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Try each step; the object at `path` is gone afterwards."""
    client = fs.S3FileSystem(**options)
    first, second, large = secrets.token_bytes(64), secrets.token_bytes(96), secrets.token_bytes(12 << 20)

    def put(content: bytes) -> str:
        with client.open_output_stream(path) as stream:
            stream.write(content)
        return ""

    def get(expected: bytes, by: Any = client) -> str:
        with by.open_input_stream(path) as stream:
            came = stream.read()
        if came != expected:
            raise OSError(f"{len(came)} bytes came back, not the {len(expected)} that were sent")
        return ""

    def listed() -> str:
        folder = path.rpartition("/")[0]
        if path not in [one.path for one in client.get_file_info(fs.FileSelector(folder))]:
            raise OSError("an object that was put is not in the listing")
        return ""

    def delete() -> str:
        client.delete_file(path)
        if client.get_file_info(path).type != fs.FileType.NotFound:
            raise OSError("a deleted object is still there")
        return ""

    def overwrite() -> str:
        put(second)
        return get(second)

    def multipart() -> str:
        put(large)
        return get(large)

    def wrong_region() -> str:
        get(large, fs.S3FileSystem(**{**options, "region": "no-such-region-1"}))
        return "accepted"

    steps: list[tuple[str, bool, Callable[[], str]]] = [
        ("put", True, lambda: put(first)),
        ("get what was put", True, lambda: get(first)),
        ("list", True, listed),
        ("overwrite, then get", True, overwrite),
        ("put in several parts, then get", True, multipart),
        ("a request signed for another region", False, wrong_region),
        ("delete", False, delete),
    ]
    found = []
    for step, needed, attempt in steps:
        try:
            found.append({"step": step, "ok": True, "seen": attempt(), "needed": needed})
        except OSError as error:
            found.append({"step": step, "ok": False, "seen": str(error)[:500], "needed": needed})
            if step == "put":
                break  # nothing else can be tried
    return found


if __name__ == "__main__":
    main()
