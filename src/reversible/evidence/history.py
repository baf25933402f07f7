"""Which runs were begun, which came to an end, and can one be hidden?

An append-only log beside the signing key. The *intent* is written before a run's first byte leaves; the outcome, or why
there is none, after it. Each entry is signed and holds the hash of the one before it; all of them are the leaves of a
Merkle tree whose checkpoint (C2SP) a reader keeps: a run that failed cannot vanish, and neither can the log be told
twice in two ways to two readers who compare.

    key-log/entries/00000000.json   {"entry": ..., "key": fingerprint, "signature": DSSE over the entry}, a line each
    key-log/checkpoint              the signed note over all of them
"""

import base64
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reversible.bundle.writer import disk_faults
from reversible.errors import DestinationError, EvidenceError, UsageError
from reversible.evidence import merkle, note, seal, strict_json
from reversible.evidence.keys import PublicKey, SigningKey
from reversible.evidence.note import Checkpoint

ENTRY_TYPE = "application/vnd.reversible.log-entry+json"
LOG = "REVERSIBLE_LOG"
_KINDS = ("genesis", "intent", "outcome", "abort", "key-rotation")
_LIMIT = 1 << 20  # bytes of one entry; ours take 1,000
_MAX_ENTRIES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log. `digest` is SHA-256 of its bytes: what a later entry or a statement quotes."""

    index: int
    content: bytes
    key: str
    said: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.said["kind"])

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Run:
    """An intent, and what became of it: `end` is its outcome or abort, None while nobody has said anything."""

    intent: Entry
    end: Entry | None

    @property
    def state(self) -> str:
        return "open" if self.end is None else "ended" if self.end.kind == "outcome" else "aborted"


@dataclass(frozen=True, kw_only=True)
class History:
    """A log that was read and found sound: every entry signed by the key of its time, chained, under the checkpoint."""

    entries: tuple[Entry, ...]
    checkpoint: Checkpoint
    vkey: str
    keys: tuple[str, ...]  # fingerprints, in the order of their rotation

    @property
    def runs(self) -> tuple[Run, ...]:
        ends = {str(one.said["intent"]): one for one in self.entries if one.kind in ("outcome", "abort")}
        return tuple(Run(intent=one, end=ends.get(one.digest)) for one in self.entries if one.kind == "intent")

    @property
    def last_statement(self) -> str | None:
        """SHA-256 of the last sealed statement."""
        outcomes = [one for one in self.entries if one.kind == "outcome"]
        return str(outcomes[-1].said["statement_sha256"]) if outcomes else None

    def open_intent(self, plan_sha256: str) -> Entry | None:
        """The last intent to run this exit plan of which nobody has said the end."""
        found = [one.intent for one in self.runs if one.end is None and one.intent.said["plan_sha256"] == plan_sha256]
        return found[-1] if found else None

    def continues(self, earlier: Checkpoint) -> bool:
        """Whether a checkpoint that a reader kept is one that this log once had."""
        leaves = [merkle.leaf(one.content) for one in self.entries[: earlier.size]]
        same = earlier.origin == self.checkpoint.origin and len(leaves) == earlier.size
        return same and merkle.root(leaves) == earlier.root


class Log:
    """The log of whoever holds `key`, in `folder`; the key that signs its checkpoints lies beside, `folder`-key.pem."""

    def __init__(self, folder: Path, key: SigningKey) -> None:
        self.folder = folder
        self.key = key

    @classmethod
    def of(cls, key: SigningKey, environ: Mapping[str, str] = os.environ) -> "Log":
        """The log that REVERSIBLE_LOG names, else the one beside the key: key-log for key.pem."""
        chosen = environ.get(LOG)
        return cls(Path(chosen) if chosen else key.path.with_name(f"{key.path.stem}-log"), key)

    def read(self) -> History | None:
        """What the log holds; None when there is none yet.

        Raises:
            EvidenceError: it was altered, or it is the log of another key.
        """
        return read(self.folder, pinned=self.key.fingerprint) if (self.folder / "checkpoint").exists() else None

    def intend(
        self,
        *,
        plan_sha256: str,
        place: str,
        at: datetime,
        organisation: str | None = None,
        nonce: str | None = None,
        authority: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Write that a run is about to begin; the same one again when it was interrupted in the same place.

        Args:
            plan_sha256: Of the exit plan.
            place: Where the run is kept; only its digest is written.
            at: When, by this machine's clock.
            organisation: Whose exit it is.
            nonce: What an auditor drew.
            authority: The time-stamping authority that will be asked.

        Raises:
            EvidenceError: the log was altered.
            DestinationError: the disk refuses: no run without its intent.
        """
        said = {
            "kind": "intent", "plan_sha256": plan_sha256, "organisation": organisation, "nonce": nonce,
            "place_sha256": hashlib.sha256(place.encode()).hexdigest(),
            "authority": None if authority is None else dict(authority),
        }  # fmt: skip
        with self._locked():
            known = self.read()
            for run in known.runs if known is not None else ():
                if run.end is None and {**run.intent.said, "at": "", "previous": ""} == {
                    **said, "at": "", "previous": "",
                }:  # fmt: skip
                    return run.intent
            return self._append(said, at)

    def end(self, intent: Entry, *, run_id: str, statement: bytes, exit_status: int, at: datetime) -> Entry:
        """Write what became of a run: the digest of its signed statement."""
        digest = hashlib.sha256(statement).hexdigest()
        said = {
            "kind": "outcome", "intent": intent.digest, "run_id": run_id, "statement_sha256": digest,
            "exit_status": exit_status,
        }  # fmt: skip
        with self._locked():
            return self._append(said, at)

    def abort(self, intent: Entry, *, reason: str, at: datetime) -> Entry:
        """Write why a run came to no end."""
        with self._locked():
            return self._append({"kind": "abort", "intent": intent.digest, "reason": reason[:500]}, at)

    def rotate(self, new: SigningKey, at: datetime) -> Entry:
        """Hand over to another key: signed by the old one, accepted by the new one. From now on the new one signs."""
        accepted = base64.b64encode(new.sign(_handover(self.key.fingerprint, new.fingerprint))).decode()
        said = {
            "kind": "key-rotation", "new": new.fingerprint, "new_pem": new.public.pem.decode(), "accepted": accepted,
        }  # fmt: skip
        with self._locked():
            entry = self._append(said, at)
        self.key = new
        return entry

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with disk_faults(self.folder):
                (self.folder / "entries").mkdir(parents=True, exist_ok=True)
                lock = (self.folder / "lock").open("w")
        except DestinationError as error:  # a key may lie where nothing else can: a mounted secret
            raise DestinationError(error.message, hint=f"export {LOG}=/a/directory/of/yours/log") from error
        with lock as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _append(self, said: dict[str, Any], at: datetime) -> Entry:
        known = self.read()
        entries = list(known.entries) if known is not None else []
        log_key = self._log_key(create=known is None)
        origin = f"reversible-log/{self.key.fingerprint[:16]}" if known is None else known.checkpoint.origin
        vkey = note.verifier_key(origin, log_key.public_key())
        if known is None and said["kind"] != "genesis":
            entries.append(
                self._write(0, {"kind": "genesis", "log": vkey, "pem": self.key.public.pem.decode()}, at, None)
            )
        elif known is not None and vkey != known.vkey:
            raise UsageError(f"{self._log_key_path()} is not the key of {self.folder}", hint="put the log's key back")
        entries.append(self._write(len(entries), said, at, entries[-1]))
        found = Checkpoint(origin, len(entries), merkle.root([merkle.leaf(one.content) for one in entries]))
        _replace(self.folder / "checkpoint", found.signed(log_key))
        return entries[-1]

    def _write(self, index: int, said: dict[str, Any], at: datetime, before: Entry | None) -> Entry:
        whole = {**said, "at": at.isoformat(), "previous": None if before is None else before.digest}
        payload = strict_json.compact_bytes(whole)
        signature = self.key.sign(seal.preauthentication(payload, ENTRY_TYPE))
        line = {"entry": whole, "key": self.key.fingerprint, "signature": base64.b64encode(signature).decode()}
        content = strict_json.compact_bytes(line) + b"\n"
        _replace(self.folder / "entries" / f"{index:08}.json", content)
        return Entry(index=index, content=content, key=self.key.fingerprint, said=whole)

    def _log_key_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-key.pem")

    def _log_key(self, *, create: bool) -> Ed25519PrivateKey:
        path = self._log_key_path()
        if create and not path.exists():
            made = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            with (
                disk_faults(path.parent),
                os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            ):
                file.write(made)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"the log's key {path} cannot be read: {error}", hint=f"ls -l {path}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(
                f"the log's key {path} is not an Ed25519 key", hint=f"openssl pkey -in {path} -text -noout"
            )
        return key


def read(folder: Path, *, pinned: str | None) -> History:
    """Read a log and check all of it.

    Args:
        folder: The log.
        pinned: Fingerprint of a key that signs or signed it; None checks that the log agrees with itself, no more.

    Raises:
        EvidenceError: an entry was changed, removed, added or reordered, a signature does not hold, the checkpoint is
            not of these entries, or the log is not of the pinned key.
    """
    try:
        entries = tuple(_entries(folder))
        keys = _keys(entries)
        vkey = str(entries[0].said["log"])
        checkpoint = note.read(_content(folder / "checkpoint"), vkey)
        leaves = [merkle.leaf(one.content) for one in entries]
        if checkpoint.size > len(leaves):
            raise ValueError(f"the checkpoint counts {checkpoint.size} entries, {len(leaves)} are there")
        if merkle.root(leaves[: checkpoint.size]) != checkpoint.root:
            raise ValueError("the entries are not those of the checkpoint")
        if len(leaves) > checkpoint.size + 1:  # one: killed between an entry and its checkpoint
            raise ValueError(f"{len(leaves) - checkpoint.size} entries are not under the checkpoint")
        if pinned is not None and pinned not in keys:
            raise ValueError(f"it is the log of the key {keys[0]}, not of {pinned}")
    except OSError as error:
        raise EvidenceError(f"log {folder}: {error.strerror}", hint=f"ls -l {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            f"log {folder}: {error}", hint="compare it with the copy or the checkpoint that a reader kept"
        ) from error
    return History(entries=entries, checkpoint=checkpoint, vkey=vkey, keys=keys)


def _entries(folder: Path) -> Iterator[Entry]:
    names = sorted(one.name for one in (folder / "entries").iterdir() if not one.name.endswith(".tmp"))
    if names != [f"{index:08}.json" for index in range(len(names))] or not names or len(names) > _MAX_ENTRIES:
        raise ValueError("an entry is missing, or something else is among the entries")
    before: Entry | None = None
    for index, name in enumerate(names):
        content = _content(folder / "entries" / name)
        try:
            line = strict_json.parse(content)
            if strict_json.compact_bytes(line) + b"\n" != content or set(line) != {"entry", "key", "signature"}:
                raise ValueError("it is not written the one way that an entry is")
            entry = Entry(index=index, content=content, key=line["key"], said=line["entry"])
            if entry.kind not in _KINDS or (entry.kind == "genesis") != (index == 0):
                raise ValueError(f"it is of the kind {entry.kind!r}")
            if entry.said["previous"] != (None if before is None else before.digest):
                raise ValueError("it does not continue the entry before it")
            datetime.fromisoformat(str(entry.said["at"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"entry {index}: {error}") from error
        yield entry
        before = entry


def _keys(entries: tuple[Entry, ...]) -> tuple[str, ...]:
    """The fingerprints of the keys that sign, each handed over to by the one before it."""
    current = PublicKey.from_pem(entries[0].said["pem"].encode())
    found = [current.fingerprint]
    for entry in entries:
        signature = base64.b64decode(strict_json.parse(entry.content)["signature"], validate=True)
        signed = seal.preauthentication(strict_json.compact_bytes(entry.said), ENTRY_TYPE)
        if entry.key != current.fingerprint or not current.verifies(signature, signed):
            raise ValueError(f"entry {entry.index}: it is not signed by the key of its time, {current.fingerprint}")
        if entry.kind == "key-rotation":
            new = PublicKey.from_pem(entry.said["new_pem"].encode())
            accepted = base64.b64decode(entry.said["accepted"], validate=True)
            if new.fingerprint != entry.said["new"] or not new.verifies(
                accepted, _handover(current.fingerprint, new.fingerprint)
            ):
                raise ValueError(f"entry {entry.index}: the new key does not accept to follow the old one")
            current = new
            found.append(new.fingerprint)
    return tuple(found)


def _handover(old: str, new: str) -> bytes:
    return f"reversible key rotation\n{old}\n{new}\n".encode()


def _content(path: Path) -> bytes:
    """A plain file's bytes: a stranger's log may hold links and pipes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        return file.read(_LIMIT)


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    with disk_faults(path.parent):
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
