"""On what is one operation tried, and how does a trial end?

An operation is a function of the bench. It ends well by returning, or by one of `refused`, `lies` and `not_tried`;
what it put lies below one prefix of the bench's own, and is remembered until it is gone.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, NoReturn
from urllib.parse import unquote_plus

from reversible.s3 import Answer, Client
from reversible.s3.client import printable

PROBES = ".reversible-probe-"  # no bag has such a name
Need = Literal["transport", "trust", ""]


class Outcome(StrEnum):
    """How a trial ended."""

    WORKS = "works"
    REFUSED = "refused"  # the server says no: an honest answer
    LIES = "lies"  # it says yes, and what is read back differs, or what it promised does not hold
    NOT_TRIED = "not tried"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How one operation ended.

    Attributes:
        operation: Its id, "multipart.abort".
        code: The server's error code where it refused; "" elsewhere.
        said: An English sentence with {names}, and `facts` for them: what was seen; "" where it works as it should.
        need: Who cannot do without it: "transport" a run, "trust" whoever keeps data there, "" nobody.
    """

    operation: str
    outcome: Outcome
    code: str = ""
    said: str = ""
    facts: Mapping[str, str | int] = field(default_factory=dict)
    need: Need = ""

    @property
    def seen(self) -> str:
        """`said` with its facts, in English."""
        return self.said.format(**self.facts)

    def to_json(self) -> dict[str, Any]:
        return {
            "operation": self.operation, "outcome": str(self.outcome), "code": self.code, "seen": self.seen,
            "need": self.need,
        }  # fmt: skip


class Ended(Exception):  # noqa: N818 - how a trial ends is no error
    """A trial is over before its function is."""

    def __init__(self, outcome: Outcome, said: str, code: str = "", /, **facts: str | int) -> None:
        super().__init__(said)
        self.outcome, self.said, self.code = outcome, said, code
        self.facts = {name: printable(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}


@dataclass(frozen=True)
class Operation:
    """One thing that a storage may do. `run` may return a sentence to keep although it works, with its facts."""

    id: str
    title: str
    run: Callable[["Bench"], "Note | None"]
    need: Need = ""

    def __call__(self, bench: "Bench") -> "Note | None":
        return self.run(bench)


Note = tuple[str, dict[str, str | int]]


def operation(
    name: str, title: str, *, need: Need = ""
) -> Callable[[Callable[["Bench"], Note | None]], Operation]:  # fmt: skip
    """Make an operation of a function."""
    return lambda run: Operation(name, title, run, need)


def refused(answer: Answer) -> NoReturn:
    """The server said no."""
    raise Ended(Outcome.REFUSED, answer.message.replace("{", "(").replace("}", ")")[:200], answer.code)


def lies(said: str, /, **facts: str | int) -> NoReturn:
    """The server said yes, and that is not so."""
    raise Ended(Outcome.LIES, said, **facts)


def not_tried(said: str, /, **facts: str | int) -> NoReturn:
    """It cannot be tried here."""
    raise Ended(Outcome.NOT_TRIED, said, **facts)


@dataclass
class Bench:
    """One bucket under examination.

    Attributes:
        client: With the owner's keys.
        prefix: Of all that is put, with its slash: "exit/.reversible-probe-1a2b/".
        lock_s: Seconds for which an object is locked.
        known: What one operation found and a later one builds on, by name.
        written: What was put, (key, version id or ""): a listing may not give every name back.
        locked: Versions that cannot be removed before a moment (epoch seconds by our clock): (key, version id).
    """

    client: Client
    prefix: str
    lock_s: int = 12
    known: dict[str, Any] = field(default_factory=dict)
    locked: dict[tuple[str, str], float] = field(default_factory=dict)
    written: set[tuple[str, str]] = field(default_factory=set)

    def key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @staticmethod
    def content(size: int = 64) -> bytes:
        """Bytes that no cache and no other object has."""
        return os.urandom(size)

    def ask(self, method: str, key: str = "", **more: Any) -> Answer:
        """Ask, and take a refusal for the end of the trial."""
        answer = self.client.send(method, key, **more)
        if not answer.ok:
            refused(answer)
        return answer

    def put(self, key: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        answer = self.ask("PUT", key, body=body, headers=headers)
        self.written.add((key, answer.headers.get("x-amz-version-id", "")))
        return answer

    def same(self, key: str, body: bytes, *, query: Mapping[str, str] | None = None) -> Answer:
        """Read back and hash."""
        answer = self.ask("GET", key, query=query)
        self.equal(answer.body, body)
        return answer

    @staticmethod
    def equal(came: bytes, sent: bytes) -> None:
        """The bytes are the same, or the server lies."""
        if came != sent:
            lies(
                "{sent} bytes were sent, {came} came back, SHA-256 {seen}… and not {expected}…",
                sent=len(sent), came=len(came), seen=hashlib.sha256(came).hexdigest()[:12],
                expected=hashlib.sha256(sent).hexdigest()[:12],
            )  # fmt: skip

    def gone(self, key: str) -> None:
        """Nothing answers under the key any more."""
        for method in ("GET", "HEAD"):
            if self.client.send(method, key).status != 404:
                lies("it is still there after it was deleted")

    @staticmethod
    def must_refuse(answer: Answer, said: str, /, **facts: str | int) -> None:
        """The server had to say no; yes is a lie."""
        if answer.ok:
            lies(said, **facts)

    def list_keys(self, prefix: str, **query: str) -> list[str]:
        """Keys below a prefix, page by page. READ (AWS, `encoding-type=url`): a space is "+", a plus "%2B"."""
        keys: list[str] = []
        for page in self.pages(prefix, **query):
            found = page.texts("Contents/Key")
            keys += [unquote_plus(key) for key in found] if page.texts("EncodingType") == ["url"] else found
        return keys

    def pages(self, prefix: str, **query: str) -> Iterator[Answer]:
        """A listing, as many pages as it takes: a server may give fewer names than it was asked for."""
        token: dict[str, str] = {}
        for _ in range(20):
            answer = self.ask("GET", query={"list-type": "2", "prefix": prefix, **query, **token})
            yield answer
            following = answer.texts("NextContinuationToken")
            if answer.texts("IsTruncated") != ["true"] or not following:
                return
            token = {"continuation-token": following[0]}

    def with_keys(self, keys: Any) -> Client:
        """A client like ours, signed by somebody else."""
        return replace(self.client, keys=keys)
