"""Does the bundle work on another host, reached by the user's own ssh?

    kit -> there, unless its digest is there -> install -> bundle -> there -> re-run behind that host's fence -> home

Each step may be cut and is taken up where it was. What comes home is held against what was sent: the questions, the
files, a proof that every byte was there, and, unless the plan says otherwise, this machine's own findings.
"""

import hashlib
import json
import logging
import secrets
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reversible import __version__, registry
from reversible.bundle import bag
from reversible.bundle.reader import Bundle
from reversible.destinations import account, held, identity
from reversible.destinations.local import LocalDestination, Rerun, conclude, models_of
from reversible.destinations.ssh_line import Host, Line, LineLostError
from reversible.errors import BundleError, DestinationError
from reversible.interfaces import Reachability
from reversible.kit import wheel
from reversible.kit.manifest import UNLISTED, Kit

log = logging.getLogger(__name__)

Watch = Callable[[Mapping[str, Any]], None]
ATTEMPTS_WAIT_S = (1.0, 5.0, 20.0)  # after each lost line
_AHEAD = 32  # requests on the way at once: small files do not wait for each other's answers
_BLOCK = 1 << 18
_ACCOUNT_LIMIT = 1 << 28  # bytes
_UNPACKED = 4  # an installed kit, in sizes of the kit; the kit itself is the fifth
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class SshDestination:
    """Runs the verifiers on another host.

    Attributes:
        host: As `ssh` takes it.
        config: A file in the place of ~/.ssh/config.
        kit: The verifying side, for that host's Python.
        signer: Fingerprint of the key that signed the kit.
        folder: Where on the host; below the user's home unless it is absolute.
        keep: Whether kit and bundle stay there.
        urls: Gives for each file of the bundle an address of the provider's storage to fetch it from; None: the
            bundle goes over the line.
        questions: Whom to ask where the host is.
        recheck: Whether this machine verifies the same bundle, too.
        criteria: The sealed ones: a difference that matters to none is none.
        timeout_s: Wall-clock seconds for the re-run.
    """

    host: str
    kit: Kit
    signer: str
    folder: str = ".reversible"
    config: Path | None = None
    keep: bool = False
    urls: Callable[[str], str] | None = None
    questions: "identity.Questions"
    recheck: bool = True
    criteria: Sequence[Mapping[str, Any]] = ()
    timeout_s: float | None = None

    def rerun(
        self, bundle: Path, *, sources: Sequence[str], into: Path, on_event: Watch = lambda event: None
    ) -> Rerun:  # fmt: skip
        """Ship, install, re-run there, and bring home what was seen.

        Raises:
            BundleError: the bundle or the kit is not what it says.
            DestinationError: the host cannot be reached, cannot take the kit, or answers what it was not asked.
        """
        opened = Bundle.open(bundle)
        self.kit.check(self.signer)
        refuse_other_code(self.kit)
        into.mkdir(parents=True, exist_ok=True)
        there = self._until_it_holds(opened, sources, into, on_event)
        if self.recheck:
            on_event({"event": "recheck"})
            here = LocalDestination(timeout_s=self.timeout_s).rerun(
                bundle, sources=sources, into=into / "recheck", on_event=on_event
            )
            results = held.hold(there.results, here.results, self.criteria)
            there = replace(there, run_findings=held.hold_behaviour(there.run_findings, here.run_findings))
            limit = CHECKED
        else:
            results, limit = there.results, UNCHECKED
        isolation = {**there.isolation, "host": self.host, "limits": [*there.isolation["limits"], THEIR_WORD, limit]}
        return replace(there, results=results, isolation=isolation)

    def reach(self) -> Iterator[Reachability]:
        """Whether the kit is whole and the host can take it; nothing is written there, but for an empty folder."""
        try:
            self.kit.check(self.signer)
            refuse_other_code(self.kit)
            seen = f"{len(self.kit.packages)} packages for {self.kit.target}, signed by {self.signer[:16]}…"
            yield Reachability(subject=f"kit {self.kit.root}", ok=True, seen=seen)
            with Line(self.host, config=self.config, pythons=self._pythons()) as line:
                refuse_host(self.host, line.host, self.kit, spoken=line.spoken)
                room = line.ask("room", folder=self.folder)
                line.ask("leave")
            about, free = line.host, f"{room['free'] >> 20} MB free in {room['folder']}"
            seen = f"Python {about.python} on {about.machine}, glibc {about.glibc}; {free}"
            yield Reachability(subject=f"host {self.host}", ok=True, seen=seen)
        except (BundleError, DestinationError) as error:
            yield Reachability(subject=f"host {self.host}", ok=False, seen=error.message, hint=error.hint)

    def _until_it_holds(self, bundle: Bundle, sources: Sequence[str], into: Path, on_event: Watch) -> Rerun:
        for wait_s in (*ATTEMPTS_WAIT_S, None):
            try:
                with Line(self.host, config=self.config, pythons=self._pythons()) as line:
                    return _Visit(self, line, bundle, on_event).whole(sources, into)
            except LineLostError as error:
                if wait_s is None:
                    raise
                log.warning("%s; once more in %g s", error.message, wait_s)
                on_event({"event": "line", "note": error.message})
                time.sleep(wait_s)
        raise AssertionError  # the last attempt raises

    def _pythons(self) -> tuple[str, ...]:
        return (f"python{self.kit.target.python}", "python3")


THEIR_WORD = (
    "fence, attempts, canaries and the process's account are the host's own word: whoever is root there can forge them"
)
CHECKED = "every finding on the bundle was measured here, too, and what differs counts for nothing"
UNCHECKED = "the findings are the host's word alone: this machine measured none of them"
LIMITS = (THEIR_WORD, CHECKED, UNCHECKED)


class _Visit:
    """One line's work, from the first question to the last sweep."""

    def __init__(self, owner: SshDestination, line: Line, bundle: Bundle, on_event: Watch) -> None:
        self._owner = owner
        self._line = line
        self._bundle = bundle
        self._tell = on_event
        self._kit = f"kits/{owner.kit.id}"
        self._venv = f"{self._kit}-venv"
        self._there = f"bundles/{bundle.digest}"
        self._run = f"runs/{bundle.digest}"

    def whole(self, sources: Sequence[str], into: Path) -> Rerun:
        refuse_host(self._owner.host, self._line.host, self._owner.kit, spoken=self._line.spoken)
        files = {path: bag.sha256_file(self._bundle.root / path) for path, _ in bag.walk(self._bundle.root)}
        self._make_room(files)
        self._install()
        self._ship(files)
        rerun = self._verify(sources, into)
        self._prove_possession(files)
        found = identity.look(self._line, self._owner.questions)
        self._sweep()
        findings = {one.metric: one for one in (*rerun.run_findings, *found.findings)}
        level = "N4" if rerun.level == "N3" and found.identified else rerun.level
        return replace(
            rerun, level=level, run_findings=tuple(findings.values()), simulated=found.simulated,
            identity=found.signals, raw=found.raw,
        )  # fmt: skip

    # --- there ----------------------------------------------------------------------------------------------------

    def _make_room(self, files: Mapping[str, str]) -> None:
        room = self._line.ask("room", folder=self._owner.folder)
        bundle = sum((self._bundle.root / path).stat().st_size for path in files)
        kit = 0 if self._installed() else (1 + _UNPACKED) * self._owner.kit.size_bytes
        needed = bundle + kit + _SPARE_BYTES
        already = self._line.ask("used", paths=[self._there, self._kit])["bytes"]
        if room["free"] + already < needed:
            raise DestinationError(
                f"{self._owner.host}: {room['folder']} has {room['free'] >> 20} MB free, {needed >> 20} MB are needed",
                hint=f"{self._line.spoken} df -h   # destination.folder names another disk",
            )

    def _installed(self) -> bool:
        return f"{self._venv}.installed" in self._line.ask("have", paths=[f"{self._venv}.installed"])["have"]

    def _install(self) -> None:
        """Bring the kit, unless one of its digest is there already, and let its own installer check it again."""
        if self._installed():
            self._tell({"event": "kit", "note": "there already"})
            return
        kit = self._owner.kit
        files = {path: bag.sha256_file(kit.root / path) for path in (*kit.files, *UNLISTED)}
        self._send(kit.root, files, self._kit)
        self._tell({"event": "install"})
        self._line.ask("remove", path=self._venv)
        installer = ["{python}", "-I", f"{{folder}}/{self._kit}/install.py", "--key", self._owner.signer]
        for _ in self._line.run([*installer, "--into", f"{{folder}}/{self._venv}"]):
            pass
        if self._line.ended:
            kind = BundleError if self._line.ended == BundleError.exit_status else DestinationError
            said = [one for one in self._line.stderr if one.startswith("error: ")] or self._line.stderr or ["no reason"]
            hint = next((one.partition("try: ")[2] for one in self._line.stderr if "try: " in one), "")
            raise kind(f"{self._owner.host}: {said[-1].removeprefix('error: ')}", hint=hint)
        self._note(f"{self._venv}.installed", kit.id)

    def _ship(self, files: Mapping[str, str]) -> None:
        if self._owner.urls is None:
            self._send(self._bundle.root, files, self._there)
            return
        have = self._have(self._there, files)
        for done, (path, sha256) in enumerate(sorted(files.items()), start=1):
            if have.get(path) != [sha256, -1]:
                url = self._owner.urls(path)
                self._line.ask("fetch", path=f"{self._there}/{path}", url=url, sha256=sha256)
            self._tell({"event": "fetched", "asset": path, "done": done, "total": len(files)})

    def _send(self, root: Path, files: Mapping[str, str], under: str) -> None:
        """Send what is not there; of a file that was cut, the rest, where its beginning is ours."""
        have = self._have(under, files)
        waiting: deque[str] = deque()

        def take_answer() -> None:
            path = waiting.popleft()
            try:
                self._line.answer()
            except LineLostError:
                raise
            except DestinationError as error:
                raise DestinationError(f"{error.message} ({path})", hint=error.hint) from error

        for done, (path, sha256) in enumerate(sorted(files.items()), start=1):
            digest, size = have.get(path, ["", 0])
            if (digest, size) == (sha256, -1):
                continue
            whole = (root / path).stat().st_size
            begin = size if 0 < size <= whole and _digest_of(root / path, size) == digest else 0
            self._line.send(
                "put", _blocks(root / path, begin), path=f"{under}/{path}", offset=begin, size=whole - begin,
                sha256=sha256,
            )  # fmt: skip
            waiting.append(path)
            self._tell({"event": "sent", "asset": path, "done": done, "total": len(files), "from": begin})
            if len(waiting) > _AHEAD:
                take_answer()
        while waiting:
            take_answer()

    def _have(self, under: str, files: Mapping[str, str]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        paths = sorted(files)
        for start in range(0, len(paths), 1000):
            asked = [f"{under}/{path}" for path in paths[start : start + 1000]]
            found |= self._line.ask("have", paths=asked)["have"]
        return {path.removeprefix(f"{under}/"): seen for path, seen in found.items()}

    def _note(self, path: str, text: str) -> None:
        content = text.encode()
        sha256 = hashlib.sha256(content).hexdigest()
        self._line.send("put", iter([content]), path=path, offset=0, size=len(content), sha256=sha256)
        self._line.answer()

    # --- the re-run, and home --------------------------------------------------------------------------------------

    def _verify(self, sources: Sequence[str], into: Path) -> Rerun:
        self._line.ask("remove", path=self._run)
        command = [f"{{folder}}/{self._venv}/bin/python", "-I", "-B", "-m", "reversible.destinations.remote"]
        command += [f"{{folder}}/{self._there}", f"{{folder}}/{self._run}"]
        command += [word for source in sources for word in ("--source", source)]
        if self._owner.timeout_s is not None:
            command += ["--timeout-s", str(self._owner.timeout_s)]
        digest = ""
        for text in self._line.run(command):
            with suppress(ValueError):  # what is no event is something that a library printed
                event = json.loads(text)
                if isinstance(event, dict):
                    digest = event["digest"] if event.get("event") == "bundle" else digest
                    self._tell(event)
        if self._line.ended:
            kind = BundleError if self._line.ended == BundleError.exit_status else DestinationError
            raise kind(f"{self._owner.host}: {(self._line.stderr or ['the re-run failed there'])[-1][:500]}")
        if digest != self._bundle.digest:
            raise DestinationError(f"{self._owner.host} verified another bundle: {digest[:80] or 'none'}")
        content = self._line.get(f"{self._run}/account.json", limit=_ACCOUNT_LIMIT)
        (into / "account.json").write_bytes(content)
        observed, about = account.from_json(content)
        self._check(observed.lines, sources, observed.targets)
        # what the host cannot know better than we do
        observed = replace(observed, models=models_of(self._bundle.root), sources=tuple(sources))
        return conclude(observed, about)

    def _check(self, lines: Sequence[Mapping[str, Any]], sources: Sequence[str], targets: Sequence[str]) -> None:
        asked = frozenset(
            (metric, asset.id)
            for verifier in registry.verifiers().values()
            for asset in self._bundle.assets
            if asset.kind in verifier.kinds
            for metric in verifier.metrics
        )
        held.check_questions(lines, self._bundle, asked)
        if missing := sorted(set(sources) - set(targets)):
            raise DestinationError(f"{self._owner.host} did not try to reach {missing[0]}: the source's own address")

    def _prove_possession(self, files: Mapping[str, str]) -> None:
        """The bundle over there still is the one that was sent, every byte: a digest over a number drawn now."""
        nonce, paths = secrets.token_bytes(32), sorted(files)
        self._tell({"event": "possession"})
        answer = self._line.ask("possess", nonce=nonce.hex(), under=self._there, paths=paths)["sha256"]
        whole = hashlib.sha256()
        for path in paths:
            own = hashlib.sha256(nonce)
            with (self._bundle.root / path).open("rb") as file:
                while block := file.read(1 << 20):
                    own.update(block)
            whole.update(f"{path}\0{own.hexdigest()}\n".encode())
        if answer != whole.hexdigest():
            raise DestinationError(f"{self._owner.host} does not hold the bundle that was sent, byte for byte")

    def _sweep(self) -> None:
        """Leave nothing behind, unless asked to."""
        if self._owner.keep:
            self._note(f"{self._venv}.kept", self._owner.kit.id)
        kept = f"{self._venv}.kept" in self._line.ask("have", paths=[f"{self._venv}.kept"])["have"]
        mine = [self._run, "tmp", "stderr.txt"]
        mine += [] if self._owner.keep else [self._there]
        mine += [] if kept else [self._kit, self._venv, f"{self._venv}.installed"]
        for path in mine:
            if not self._line.ask("remove", path=path)["gone"]:
                raise DestinationError(f"{self._owner.host}: {path} could not be removed")
        self._line.ask("leave")


def refuse_other_code(kit: Kit) -> None:
    """Raises DestinationError where the kit holds another verifying side than the one that runs here."""
    with tempfile.TemporaryDirectory(prefix="reversible-") as scratch:
        own = wheel.own_wheel(Path(scratch))
        same = kit.files.get(f"wheels/{own.name}") == bag.sha256_file(own)
    if not same:
        raise DestinationError(
            f"the kit {kit.root} holds {kit.tool} with other code than reversible-toolkit {__version__} here",
            hint=f"rm -r {kit.root} && reversible kit build {kit.root} --python {kit.target.python}",
        )


def refuse_host(name: str, host: Host, kit: Kit, *, spoken: str) -> None:
    """Raises DestinationError where the kit is for other hosts, with the command that builds the right one.

    Args:
        spoken: How a user types a command for the host: "ssh eu-host".
    """
    target, again = kit.target, f"reversible kit build {kit.root}-{host.python} --python {host.python}"
    if host.system != "Linux" or host.implementation != "cpython" or host.glibc == "-":
        raise DestinationError(
            f"{name} is {host.system} with {host.implementation}: a kit needs CPython on Linux with glibc",
            hint=f"{spoken} cat /etc/os-release",
        )
    if tuple(map(int, host.python.split("."))) < (3, 11):
        raise DestinationError(
            f"{name} has Python {host.python}; 3.11 or newer is needed",
            hint=f"{spoken} 'ls /usr/bin/python3*'   # and install one; destination.kit is for its version",
        )
    if (host.python, host.machine) != (target.python, target.machine):
        raise DestinationError(
            f"{name} has Python {host.python} on {host.machine}, the kit {kit.root} is for {target}",
            hint=f"{again} --machine {host.machine}   # and destination.kit names it",
        )
    if _version(host.glibc) < _version(target.glibc):
        raise DestinationError(
            f"{name} has glibc {host.glibc}, the kit {kit.root} is for {target}", hint=f"{again} --glibc {host.glibc}"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _blocks(path: Path, begin: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(begin)
        while block := file.read(_BLOCK):
            yield block


def _digest_of(path: Path, size: int) -> str:
    """SHA-256 of the file's first `size` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size and (block := file.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()
