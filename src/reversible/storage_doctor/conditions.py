"""Is an object written only if nobody else wrote it?"""

from concurrent.futures import ThreadPoolExecutor

from reversible.storage_doctor.bench import Bench, Note, lies, operation, refused

_WRITERS, _ROUNDS = 8, 2  # some servers keep the losers waiting for seconds
_TAKEN = (409, 412)  # READ (AWS, "conditional writes"): 412 PreconditionFailed, 409 ConditionalRequestConflict


@operation("conditional.create", "an object is put only where none is")
def create(bench: Bench) -> None:
    key, body = bench.key("conditional-create"), bench.content()
    bench.put(key, body, {"if-none-match": "*"})
    answer = bench.client.send("PUT", key, body=bench.content(), headers={"if-none-match": "*"})
    if answer.ok:
        lies("an object was replaced though only a new one was asked for")
    if answer.status not in _TAKEN:
        refused(answer)
    bench.same(key, body)


@operation("conditional.replace", "an object is replaced only where it is still the known one")
def replace(bench: Bench) -> None:
    key, body = bench.key("conditional-replace"), bench.content()
    etag = bench.put(key, bench.content()).headers.get("etag", "")
    bench.put(key, body, {"if-match": etag})
    answer = bench.client.send("PUT", key, body=bench.content(), headers={"if-match": etag})
    if answer.ok:
        lies("an object was replaced though it was no longer the known one")
    if answer.status not in _TAKEN:
        refused(answer)
    bench.same(key, body)


@operation("conditional.race", "of several that put a new object at once, one succeeds")
def race(bench: Bench) -> Note | None:
    """A round that goes well proves little, and one that does not proves all."""
    for number in range(_ROUNDS):
        key = bench.key(f"conditional-race-{number}")
        bodies = [bench.content() for _ in range(_WRITERS)]

        def attempt(body: bytes, key: str = key) -> int:
            return bench.client.send("PUT", key, body=body, headers={"if-none-match": "*"}).status

        with ThreadPoolExecutor(_WRITERS) as pool:
            statuses = list(pool.map(attempt, bodies))
        winners = [body for body, status in zip(bodies, statuses, strict=True) if 200 <= status < 300]
        if not winners and not set(statuses) & set(_TAKEN):
            bench.put(key, bodies[0], {"if-none-match": "*"})  # its refusal says why
        if len(winners) != 1:
            lies("{winners} of {writers} were told that theirs is the object", winners=len(winners), writers=_WRITERS)
        bench.same(key, winners[0])
    return "in {rounds} rounds of {writers}", {"rounds": _ROUNDS, "writers": _WRITERS}


OPERATIONS = (create, replace, race)
