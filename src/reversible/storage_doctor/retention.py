"""Are older versions kept, and is what is locked kept from whoever holds our keys?

A lock is tried for some seconds, with the credentials that put it: it is shown against them, and against nobody
else. Whoever runs the server can do what they like. Nothing is set on the bucket itself.
"""

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from reversible.s3 import Answer
from reversible.storage_doctor.bench import Bench, Note, lies, not_tried, operation, refused
from reversible.storage_doctor.objects import delete_all

_LOCK = "x-amz-object-lock-"


@operation("versions", "older versions of an object are kept and read back")
def versions(bench: Bench) -> None:
    key, bodies, ids = _three(bench)
    if len(set(ids)) != len(ids):
        lies("3 versions were put, and have {ids} ids", ids=len(set(ids)))
    for body, version in zip(bodies, ids, strict=True):
        bench.same(key, body, query={"versionId": version})
    bench.same(key, bodies[-1])
    answer = bench.ask("GET", query={"versions": "", "prefix": key})
    if answer.texts("Version/VersionId") != ids[::-1]:
        lies("3 versions were put, {listed} are listed, newest first", listed=len(answer.texts("Version/VersionId")))


@operation("versions.marker", "a deleted object is hidden, its versions are kept, and it can come back")
def marker(bench: Bench) -> None:
    key, bodies, ids = _three(bench)
    bench.ask("DELETE", key)
    bench.gone(key)
    bench.same(key, bodies[0], query={"versionId": ids[0]})
    found = bench.ask("GET", query={"versions": "", "prefix": key}).texts("DeleteMarker/VersionId")
    if len(found) != 1:
        lies("a deleted object has {markers} delete markers", markers=len(found))
    bench.ask("DELETE", key, query={"versionId": found[0]})
    bench.same(key, bodies[-1])


@operation("versions.delete", "one version is deleted, and the others stay")
def delete_version(bench: Bench) -> None:
    key, bodies, ids = _three(bench)
    bench.ask("DELETE", key, query={"versionId": ids[1]})
    if bench.client.send("GET", key, query={"versionId": ids[1]}).ok:
        lies("it is still there after it was deleted")
    for place in (0, 2):
        bench.same(key, bodies[place], query={"versionId": ids[place]})
    bench.known.pop("three")


def versioned(bench: Bench) -> bool:
    """Whether the bucket keeps versions; asked once."""
    if "versioning" not in bench.known:
        answer = bench.client.send("GET", query={"versioning": ""})
        bench.known["versioning"] = (answer.texts("Status") or ["off"])[0] if answer.ok else answer.code
    return bool(bench.known["versioning"] == "Enabled")


def _three(bench: Bench) -> tuple[str, list[bytes], list[str]]:
    """Three versions of one object, once."""
    if not versioned(bench):
        not_tried("the bucket keeps no versions: {said}", said=bench.known["versioning"])
    key = bench.key("versions")
    if "three" not in bench.known:
        bodies = [bench.content(50 + number) for number in range(3)]
        ids = [bench.put(key, body).headers.get("x-amz-version-id", "") for body in bodies]
        if not all(ids):
            lies("versions are on, and a put gives no version id")
        bench.known["three"] = (bodies, ids)
    bodies, ids = bench.known["three"]
    return key, bodies, ids


# --- locks --------------------------------------------------------------------------------------------------------


@operation("lock", "a locked object can be neither deleted nor replaced nor unlocked by whoever locked it")
def lock(bench: Bench) -> Note:
    key, body, until = _locked(bench, "COMPLIANCE", "lock")
    version = bench.known["lock"]
    attempts = (
        bench.client.send("DELETE", key, query={"versionId": version}),
        bench.client.send(
            "DELETE", key, query={"versionId": version}, headers={"x-amz-bypass-governance-retention": "true"}
        ),
        _retain(bench, key, version, "COMPLIANCE", until - timedelta(seconds=bench.lock_s - 2)),
        _retain(bench, key, version, "GOVERNANCE", until),
    )
    delete_all(bench, f"<Object><Key>{key}</Key><VersionId>{version}</VersionId></Object>")  # may answer with errors
    bench.put(key, bench.content())  # a new version: the old one must not be touched
    bench.client.send("DELETE", key)  # a delete marker may hide it
    answer = bench.client.send("GET", key, query={"versionId": version})
    if not answer.ok:
        bench.locked.pop((key, version), None)
        lies("the locked version is gone: {error}", error=answer.code)
    bench.equal(answer.body, body)
    for said in attempts[:2]:
        bench.must_refuse(said, "it was answered with {status} that the locked version is deleted", status=said.status)
    for said in attempts[2:]:
        bench.must_refuse(said, "it was answered with {status} that the lock is weakened", status=said.status)
    kept = bench.ask("GET", key, query={"retention": "", "versionId": version})
    if kept.texts("Mode") != ["COMPLIANCE"]:
        lies("the lock was taken with 200 and not kept")
    return "shown against these credentials only, not against the server's operator", {}


@operation("lock.hold", "an object on legal hold cannot be deleted until the hold is lifted")
def hold(bench: Bench) -> None:
    _needs_lock(bench)
    key, body = bench.key("lock-hold"), bench.content()
    version = bench.put(key, body, {f"{_LOCK}legal-hold": "ON"}).headers.get("x-amz-version-id", "")
    answer = bench.client.send("DELETE", key, query={"versionId": version})
    if bench.client.send("GET", key, query={"versionId": version}).status == 404:
        lies("an object on legal hold could be deleted")
    lifted = b'<LegalHold xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>OFF</Status></LegalHold>'
    bench.ask("PUT", key, query={"legal-hold": "", "versionId": version}, body=lifted, headers=_md5(lifted))
    bench.must_refuse(answer, "it was answered with 200 that an object on legal hold is deleted")
    bench.same(key, body, query={"versionId": version})


@operation("lock.default", "how long the bucket locks what is put into it")
def default(bench: Bench) -> Note:
    document = _needs_lock(bench)
    mode, days, years = (document.texts(f"Rule/DefaultRetention/{name}") for name in ("Mode", "Days", "Years"))
    if not mode:
        return "the bucket locks nothing by itself", {}
    return "{mode}, {days} days, {years} years", {
        "mode": mode[0], "days": (days or ["0"])[0], "years": (years or ["0"])[0]
    }  # fmt: skip


def _needs_lock(bench: Bench) -> Answer:
    if "lock configuration" not in bench.known:
        bench.known["lock configuration"] = bench.client.send("GET", query={"object-lock": ""})
    answer: Answer = bench.known["lock configuration"]
    if not answer.ok or "Enabled" not in answer.texts("ObjectLockEnabled"):
        not_tried("the bucket has no object lock: {error}", error=answer.code if not answer.ok else "off")
    return answer


def _locked(bench: Bench, mode: str, name: str) -> tuple[str, bytes, datetime]:
    """An object, locked for some seconds by the server's clock."""
    document = _needs_lock(bench)
    if document.texts("Rule/DefaultRetention/Mode"):
        not_tried("the bucket locks whatever is put there: a trial would stay")
    key, body = bench.key(name), bench.content()
    there = bench.ask("GET", query={"versioning": ""}).headers.get("date")
    now = parsedate_to_datetime(there) if there else datetime.now(UTC)
    until = now + timedelta(seconds=bench.lock_s)
    headers = {f"{_LOCK}mode": mode, f"{_LOCK}retain-until-date": _iso(until)}
    answer = bench.put(key, body, {**headers, **_md5(body)})
    version = answer.headers.get("x-amz-version-id", "")
    if not version:
        lies("a lock was answered with 200, and the object has no version")
    bench.known[name] = version
    bench.locked[key, version] = time.time() + bench.lock_s + 2
    return key, body, until


def _retain(bench: Bench, key: str, version: str, mode: str, until: datetime) -> Answer:
    document = (
        f'<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>{mode}</Mode>'
        f"<RetainUntilDate>{_iso(until)}</RetainUntilDate></Retention>"
    ).encode()
    query = {"retention": "", "versionId": version}
    return bench.client.send("PUT", key, query=query, body=document, headers=_md5(document))


def _md5(body: bytes) -> dict[str, str]:
    from reversible.storage_doctor.checksums import md5

    return {"content-md5": md5(body)}


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


# --- encryption, and what is erased by itself ----------------------------------------------------------------------


@operation("encryption.bucket", "how the bucket encrypts what is put into it")
def bucket_encryption(bench: Bench) -> Note:
    answer = bench.client.send("GET", query={"encryption": ""})
    if answer.status == 404:
        return "no rule", {}
    if not answer.ok:
        refused(answer)
    found = answer.texts("Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm")
    return "{said}", {"said": ", ".join(found) or "no rule"}


@operation("encryption.object", "an object is put encrypted, and the server says so")
def object_encryption(bench: Bench) -> None:
    key, body = bench.key("encrypted"), bench.content()
    bench.put(key, body, {"x-amz-server-side-encryption": "AES256"})
    if bench.same(key, body).headers.get("x-amz-server-side-encryption") != "AES256":
        lies("it was asked for and answered with 200, and the object is not said to be encrypted")


@operation("encryption.own", "an object that is encrypted with our own key is not read without it")
def own_key(bench: Bench) -> None:
    if bench.client.tls is None:
        not_tried("a key of ours would travel without TLS")
    from base64 import b64encode

    from reversible.storage_doctor.checksums import md5

    key, body, secret = bench.key("encrypted-own"), bench.content(), bench.content(32)
    headers = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": b64encode(secret).decode(),
        "x-amz-server-side-encryption-customer-key-md5": md5(secret),
    }
    bench.put(key, body, headers)
    if bench.client.send("GET", key).ok:
        lies("it was read without the key")
    bench.equal(bench.ask("GET", key, headers=headers).body, body)


@operation("lifecycle", "what the bucket erases by itself")
def lifecycle(bench: Bench) -> Note:
    answer = bench.client.send("GET", query={"lifecycle": ""})
    if answer.status == 404:
        return "no rule", {}
    if not answer.ok:
        refused(answer)
    days = answer.texts("Rule/Expiration/Days")
    return "{rules} rules; objects expire after {days} days", {
        "rules": len(answer.xml().findall("Rule")), "days": ", ".join(days) or "-"
    }  # fmt: skip


OPERATIONS = (lock, hold, default, versions, marker, delete_version, bucket_encryption, object_encryption, own_key,
              lifecycle)  # fmt: skip
