"""Who is let in, for how long, by which clock and under which address?"""

import ipaddress
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from reversible.s3 import Keys, UnreachableError
from reversible.storage_doctor.bench import Bench, Note, lies, not_tried, operation, refused

_NO = (400, 401, 403)


@operation("secret.wrong", "a wrong secret key is refused", need="trust")
def wrong_secret(bench: Bench) -> None:
    assert bench.client.keys is not None  # noqa: S101 - the bench's client signs
    _stranger(bench, replace(bench.client.keys, secret_key=f"{bench.client.keys.secret_key[::-1]}x"))


@operation("secret.unknown", "an unknown access key is refused", need="trust")
def unknown_key(bench: Bench) -> None:
    _stranger(bench, Keys("AKIDOESNOTEXIST00000", "no-such-secret-key-0000000000000000000000"))


@operation("anonymous", "whoever does not sign is refused", need="trust")
def anonymous(bench: Bench) -> None:
    _stranger(bench, None)


def _stranger(bench: Bench, keys: Keys | None) -> None:
    """Reading and writing."""
    key, body = bench.key("stranger"), bench.content()
    bench.put(key, body)
    stranger = bench.with_keys(keys)
    if stranger.send("GET", key).body == body:
        lies("the object was read")
    answer = stranger.send("PUT", key, body=bench.content())
    bench.same(key, body)
    if answer.ok:
        lies("it was answered with 200 that the object is replaced")
    if answer.status not in _NO:
        refused(answer)


@operation("presigned", "a link reads and writes one object without keys")
def presigned(bench: Bench) -> None:
    key, body, nobody = bench.key("presigned é"), bench.content(), bench.with_keys(None)
    answer = nobody.send("PUT", key, query=bench.client.presigned("PUT", key), body=body)
    if not answer.ok:
        refused(answer)
    answer = nobody.send("GET", key, query=bench.client.presigned("GET", key))
    if not answer.ok:
        refused(answer)
    bench.equal(answer.body, body)


@operation("presigned.limits", "a link that is expired, altered or meant for something else is refused")
def presigned_limits(bench: Bench) -> None:
    key, body, nobody = bench.key("presigned-limits"), bench.content(), bench.with_keys(None)
    bench.put(key, body)
    link = bench.client.presigned("GET", key)
    old = bench.client.presigned("GET", key, expires_s=60, at=bench.client.now() - timedelta(hours=1))
    altered = {**link, "X-Amz-Signature": link["X-Amz-Signature"][::-1]}
    bench.must_refuse(nobody.send("GET", key, query=old), "an expired link was answered with 200")
    bench.must_refuse(nobody.send("GET", key, query=altered), "an altered link was answered with 200")
    answer = nobody.send("DELETE", key, query=link)
    bench.same(key, body)
    bench.must_refuse(answer, "a link to read was taken to delete")


@operation("region", "whether a request may be signed for another region")
def region(bench: Bench) -> Note:
    key = bench.key("region")
    bench.put(key, bench.content())
    other = replace(bench.client, region="no-such-region-1")
    answer = other.send("GET", key)
    return ("any region is taken", {}) if answer.ok else ("it is refused: {error}", {"error": answer.code})


@operation("clock", "the server's clock and ours agree")
def clock(bench: Bench) -> Note:
    before = bench.client.now()
    answer = bench.client.send("GET", query={"list-type": "2", "max-keys": "1", "prefix": bench.prefix})
    if "date" not in answer.headers:
        not_tried("the server does not say its time")
    try:
        there: datetime = parsedate_to_datetime(answer.headers["date"])
    except ValueError:
        lies("the server's date is none")
    apart = round((there - before).total_seconds())
    if abs(apart) > 300:  # a third of what S3 bears
        lies("the server's clock is {seconds} s from ours: set this machine's, or tell the provider", seconds=apart)
    return "{seconds} s apart", {"seconds": apart}


@operation("clock.old", "a request that was signed half an hour ago is refused")
def old_request(bench: Bench) -> None:
    """READ (AWS, RequestTimeTooSkewed): more than 15 minutes."""
    key = bench.key("clock-old")
    bench.put(key, bench.content())
    late = bench.client.now() - timedelta(minutes=30)
    old = replace(bench.client, now=lambda: late)
    bench.must_refuse(old.send("GET", key), "a request of half an hour ago can be replayed")


@operation("address.path", "the bucket in the path of the address")
def address_path(bench: Bench) -> None:
    _addressed(bench, virtual=False)


@operation("address.host", "the bucket in the name of the host")
def address_host(bench: Bench) -> None:
    try:
        ipaddress.ip_address(urlsplit(bench.client.endpoint_url).hostname or "")
    except ValueError:
        pass
    else:
        not_tried("the address is a number, not a name")
    if bench.client.tls is not None and "." in bench.client.bucket:
        not_tried("no certificate covers a bucket with a dot in its name")
    _addressed(bench, virtual=True)


def _addressed(bench: Bench, *, virtual: bool) -> None:
    other = replace(bench.client, virtual=virtual)
    key, body = bench.key(f"address-{int(virtual)} é"), bench.content()
    try:
        answer = other.send("PUT", key, body=body)
        if not answer.ok:
            refused(answer)
        answer = other.send("GET", key)
    except UnreachableError as error:
        not_tried("{why}", why=error.message)
    bench.equal(answer.body, body)
    bench.same(key, body)  # and under the address that everything else uses


OPERATIONS = (wrong_secret, unknown_key, anonymous, presigned, presigned_limits, region, clock, old_request,
              address_path, address_host)  # fmt: skip
