"""What does the far end of an ssh line do for us?

Sent over the line and run by the host's own Python (`ssh_line` says how): the standard library alone, nothing is
installed for it, and it ends with the line. One request after the other, each a line of JSON, for "put" followed by
the file's bytes; each is answered by a line of JSON, for "get" followed by the bytes. It keeps to one folder.
"""

import base64
import ctypes
import errno
import fcntl
import hashlib
import http.client
import io
import json
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

BLOCK = 1 << 18
SILENCE_S = 60.0  # the other end says something every 10 s: after this it is gone
LOCK_S = 90.0  # longer: by then whoever was here before has noticed that its line broke
ANSWER_LIMIT = 1 << 16  # bytes that are kept of a metadata service's answer
_PLAIN = re.compile(r"[A-Za-z0-9._+!-]+(/[A-Za-z0-9._+!-]+)*")

_in, _out = cast("io.BufferedReader", sys.stdin.buffer), sys.stdout.buffer
_root = Path("/nonexistent")
_lock: IO[bytes] | None = None


def main() -> None:
    known: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
        "room": room, "have": have, "put": put, "fetch": fetch, "run": run, "possess": possess, "get": get,
        "remove": remove, "ping": ping, "about": about, "ask": ask, "send": send, "used": used, "leave": leave,
    }  # fmt: skip
    while line := heard(_in.readline):
        if not line.strip():  # a sign of life
            continue
        request = json.loads(line)
        try:
            answer = known[request["op"]](request)
        except OSError as error:
            answer = {"error": error.strerror or str(error), "errno": errno.errorcode.get(error.errno or 0, "")}
        if answer is not None:
            tell(answer)


def heard(read: Callable[..., bytes], *limit: int) -> bytes:
    """What comes next; a line on which nothing comes ends this process (SIGALRM)."""
    signal.setitimer(signal.ITIMER_REAL, SILENCE_S)
    try:
        return read(*limit)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def tell(answer: dict[str, Any]) -> None:
    _out.write(json.dumps(answer).encode() + b"\n")
    _out.flush()


def inside(path: str) -> Path:
    if not _PLAIN.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise OSError(errno.EINVAL, f"{path!r} is no path of ours")
    return _root / path


# --- the folder -------------------------------------------------------------------------------------------------


def room(request: dict[str, Any]) -> dict[str, Any]:
    """Make the folder, for this user alone, and say how much fits into it."""
    global _root, _lock, SILENCE_S
    SILENCE_S = request.get("silence_s", SILENCE_S)
    folder = Path(request["folder"]).expanduser()
    _root = folder if folder.is_absolute() else Path.home() / folder
    _root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _root.is_symlink() or _root.stat().st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"{_root} is another user's, or a link")
    _root.chmod(0o700)
    _lock = (_root / "lock").open("wb")
    until = time.monotonic() + LOCK_S  # a line that broke takes a while to notice it
    while True:
        try:
            fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                return {"error": f"another run is at work in {_root}: destination.folder names another place"}
            time.sleep(0.2)
    return {"folder": str(_root), "free": shutil.disk_usage(_root).free}


def have(request: dict[str, Any]) -> dict[str, Any]:
    """What is there of each path: [digest of the whole file, or of its first part; size of that part, or -1]."""
    found = {}
    for path in request["paths"]:
        whole, part = inside(path), inside(path + ".part")
        if whole.is_file():
            found[path] = [digest(whole), -1]
        elif part.is_file():
            found[path] = [digest(part), part.stat().st_size]
    return {"have": found}


def put(request: dict[str, Any]) -> dict[str, Any]:
    """Take bytes of a file from `offset` on; it gets its name when it is whole and has its digest."""
    left: int = request["size"]
    try:
        target = inside(request["path"])
        part = inside(request["path"] + ".part")
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if request["offset"] else "wb", buffering=0) as file:
            file.truncate(request["offset"])
            file.seek(request["offset"])
            while left:
                block = heard(
                    _in.read1, min(left, BLOCK)
                )  # as they come: what a cut line leaves is a beginning to go on from
                if not block:
                    sys.exit(0)
                left -= len(block)
                while block:
                    block = block[file.write(block) :]
        return _finish(part, target, request["sha256"])
    finally:
        while left and (block := heard(_in.read1, min(left, BLOCK))):  # an error ends the request, not the line
            left -= len(block)


def fetch(request: dict[str, Any]) -> dict[str, Any]:
    """Get a file from a storage, from where an earlier attempt ended."""
    target, part = inside(request["path"]), inside(request["path"] + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    begin = part.stat().st_size if part.exists() else 0
    asked = urllib.request.Request(request["url"], headers={"Range": f"bytes={begin}-"} if begin else {})  # noqa: S310 - made by us
    try:
        with urllib.request.urlopen(asked, timeout=60) as came, part.open("ab" if came.status == 206 else "wb") as file:  # noqa: S310
            shutil.copyfileobj(came, file, BLOCK)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # what is there already is all that there is
            return {"error": f"the storage answered {error.code} {error.reason}"}
    except (urllib.error.URLError, http.client.HTTPException) as error:
        return {"error": f"the storage did not answer: {getattr(error, 'reason', error)}"}
    return _finish(part, target, request["sha256"])


def _finish(part: Path, target: Path, sha256: str) -> dict[str, Any]:
    seen = digest(part)
    if seen != sha256:
        part.unlink()
        return {"error": f"its SHA-256 there is {seen}, not {sha256}"}
    part.replace(target)
    return {"ok": True}


def get(request: dict[str, Any]) -> None:
    path = inside(request["path"])
    content = path.read_bytes()
    tell({"size": len(content)})
    _out.write(content)
    _out.flush()


def possess(request: dict[str, Any]) -> dict[str, Any]:
    """A digest that nobody gives who does not have every byte: each file hashed behind a number drawn just now."""
    nonce = bytes.fromhex(request["nonce"])
    whole = hashlib.sha256()
    for path in request["paths"]:
        whole.update(f"{path}\0{digest(inside(request['under'] + '/' + path), nonce)}\n".encode())
    return {"sha256": whole.hexdigest()}


def remove(request: dict[str, Any]) -> dict[str, Any]:
    """Remove a path below the folder, or the folder itself and all in it."""
    target = _root if request["path"] == "." else inside(request["path"])
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    return {"gone": not target.exists()}


def used(request: dict[str, Any]) -> dict[str, Any]:
    """How many bytes lie below the paths already."""
    below = [path for name in request["paths"] for path in inside(name).rglob("*")]
    return {"bytes": sum(path.stat().st_size for path in below if path.is_file() and not path.is_symlink())}


def leave(request: dict[str, Any]) -> dict[str, Any]:
    """Remove what is empty of the folder, and the folder itself when nothing is left in it."""
    left = [path.name for path in _root.iterdir() if path.name not in ("kits", "bundles", "runs", "lock")]
    for name in ("kits", "bundles", "runs"):
        with suppress(OSError):
            (_root / name).rmdir()
        if (_root / name).exists():
            left.append(name)
    if not left:
        (_root / "lock").unlink(missing_ok=True)
        with suppress(OSError):
            _root.rmdir()
    return {"left": left}


def digest(path: Path, prefix: bytes = b"") -> str:
    whole = hashlib.sha256(prefix)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


# --- a command --------------------------------------------------------------------------------------------------


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command in the folder, hand its lines on as they come, and end it, with all it started, with the line."""
    temporary = _root / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(Path.home()),
                   "TMPDIR": str(temporary)}  # fmt: skip
    argv = [part.replace("{folder}", str(_root)).replace("{python}", sys.executable) for part in request["argv"]]
    errors = inside("stderr.txt")
    with errors.open("wb") as file:
        process = subprocess.Popen(
            argv, cwd=_root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file,
            start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        _relay(process)
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"ended": code, "stderr": said[-20:]}


def _relay(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    output = process.stdout.fileno()
    pending, heard = b"", time.monotonic()
    with selectors.DefaultSelector() as waiting:
        waiting.register(output, selectors.EVENT_READ)
        waiting.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select(5):
                block = os.read(key.fd, BLOCK)
                if key.fd == 0:
                    heard = time.monotonic()
                    if not block:
                        raise SystemExit  # the line is gone
                elif not block:
                    return
                else:
                    *lines, pending = (pending + block).split(b"\n")
                    for line in lines:
                        tell({"line": line.decode("utf-8", "replace")})
            if time.monotonic() - heard > SILENCE_S:
                raise SystemExit


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG


# --- who is it? -------------------------------------------------------------------------------------------------


def ping(request: dict[str, Any]) -> dict[str, Any]:
    return {"nonce": request["nonce"]}


def about(request: dict[str, Any]) -> dict[str, Any]:
    """What this host says of itself: files as they are, base64, and the addresses of the line."""
    files = {}
    for name in request["files"]:
        with suppress(OSError):
            files[name] = base64.b64encode(Path(name).read_bytes()[:ANSWER_LIMIT]).decode()
    return {"files": files, "uname": list(platform.uname()), "line": os.environ.get("SSH_CONNECTION", "")}


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """Ask a metadata service on the link: no proxy, no redirect, a short wait."""
    got: dict[str, Any] = {}
    for url in request["urls"]:
        target = urllib.request.urlsplit(url)  # type: ignore[attr-defined] # it is there, and not in the stub
        connection = http.client.HTTPConnection(target.hostname, target.port or 80, timeout=2)
        try:
            connection.request("GET", f"{target.path}?{target.query}" if target.query else target.path)
            came = connection.getresponse()
            body = came.read(ANSWER_LIMIT)
            got[url] = {"status": came.status, "body": base64.b64encode(body).decode()}
        except (OSError, http.client.HTTPException) as error:
            got[url] = {"error": str(error) or type(error).__name__}
        finally:
            connection.close()
    return {"answers": got}


def send(request: dict[str, Any]) -> dict[str, Any]:
    """Write a text to an address that the other end signed."""
    asked = urllib.request.Request(request["url"], data=request["text"].encode(), method="PUT")  # noqa: S310 - made by us
    try:
        with urllib.request.urlopen(asked, timeout=20) as came:  # noqa: S310
            return {"status": came.status, "headers": dict(came.headers.items())}
    except (OSError, http.client.HTTPException) as error:
        return {"error": str(error)}


if __name__ == "__main__":
    main()
