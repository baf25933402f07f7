"""How do several connections read one PostgreSQL database side by side, all as it stood at one moment?"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import TypeVar

from reversible.errors import SourceError
from reversible_exporters.postgres_copy import Pace, Stopped
from reversible_exporters.postgres_session import Session

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Done = TypeVar("Done")


class Pool:
    """One session with a snapshot, and helpers that share it.

    Args:
        connect: Opens a session: with a snapshot of its own when given "", else with the one named.
        workers: The most connections at once: the load that the server's owner allows.
        bytes_per_s: What all of them may read together; 0: no limit.
    """

    def __init__(self, connect: Callable[[str], Session], *, workers: int, bytes_per_s: float) -> None:
        self._connect = connect
        self._most = workers
        self._bytes_per_s = bytes_per_s / workers
        self._main: Session | None = None
        self._helpers: list[Session] = []

    @property
    def session(self) -> Session:
        """The session that holds the snapshot; a new one, with a new snapshot, when its connection was lost."""
        if self._main is None or not self._main.alive:
            self.close()
            self._main = self._connect("")
        return self._main

    def holds(self, session: Session | None) -> bool:
        """Whether this session's snapshot still is the one that everything is read in."""
        return session is not None and session is self._main and session.alive

    def each(
        self, subject: str, hint: str, items: Sequence[Item], work: Callable[[Session, Item, Pace], Done]
    ) -> list[Done]:
        """`work` on every item, in the items' order, each on a connection of its own.

        Raises:
            SourceError: the server refused one, or went away; the others were stopped.
        """
        workers = [self.session, *self._ready(min(self._most, len(items)) - 1)]
        pace = Pace(self._bytes_per_s)
        free: SimpleQueue[Session] = SimpleQueue()
        for worker in workers:
            free.put(worker)

        def do(item: Item) -> Done:
            worker = free.get()
            try:
                with worker.reading(subject, hint):
                    return work(worker, item, pace)
            except ValueError as error:
                raise SourceError(f"{subject}: what the server sent cannot be read: {error}") from error
            finally:
                free.put(worker)

        if len(workers) == 1:
            return [do(item) for item in items]
        with ThreadPoolExecutor(len(workers), thread_name_prefix="reversible-postgres") as threads:
            futures = [threads.submit(do, item) for item in items]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # also on Ctrl-C: the queries end at the server, and nothing waits for their rows
                if not all(one.done() and not one.exception() for one in futures):
                    pace.stop.set()
                    threads.shutdown(wait=True, cancel_futures=True)
        return [_result(one, futures) for one in futures]

    def _ready(self, wanted: int) -> list[Session]:
        """Helpers that see the session's snapshot; fewer when the server has no more connections to give."""
        self._helpers = [one for one in self._helpers if one.alive]
        while len(self._helpers) < wanted:
            try:
                self._helpers.append(self._connect(self.session.snapshot))
            except SourceError as error:
                log.warning("%s; going on with %s connections", error.message, 1 + len(self._helpers))
                break
        return self._helpers[:wanted]

    def close(self) -> None:
        """Give the connections and the snapshot back."""
        for one in (self._main, *self._helpers):
            if one is not None:
                one.close()
        self._main = None
        self._helpers = []


def _result(future: "Future[Done]", futures: Sequence["Future[Done]"]) -> Done:
    """The result; where it was stopped, the fault of the one that failed first."""
    if future.cancelled() or isinstance(future.exception(), Stopped):
        faults = [one.exception() for one in futures if not one.cancelled()]
        raise next(one for one in faults if one is not None and not isinstance(one, Stopped))
    return future.result()
