"""Is each lie of a storage caught, by the operation that it is about, and is nothing else called a lie?"""

import ast
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reversible.errors import DestinationError
from reversible.s3 import Client, Keys, UnreachableError, signing, trust
from reversible.storage_doctor import OPERATIONS, Examination, Outcome, Settings, Trial, examine, words
from reversible.storage_doctor import doctor as doctors
from reversible.storage_doctor.doctor import Doctor
from reversible.testing import lies
from reversible.testing.proxy import Fault, FaultyProxy, Lie
from reversible.testing.tls import Authority, TLSFront
from reversible_samples.s3_servers import SeaweedFS

BUCKET = "sortie"
SOURCES = Path(doctors.__file__).parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("weed")) as weed:
        weed.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        yield weed


def client_of(server: SeaweedFS, endpoint_url: str = "", **changes: Any) -> Client:
    client = Client(
        endpoint_url=endpoint_url or server.endpoint_url, bucket=BUCKET, region=server.region,
        keys=Keys(server.access_key, server.secret_key), timeout_s=20.0,
    )  # fmt: skip
    return replace(client, **changes)


def tried(client: Client, request: pytest.FixtureRequest, *names: str) -> Examination:
    """These operations, below a prefix of the test's own."""
    chosen = [one for one in OPERATIONS if one.id in names]
    assert {one.id for one in chosen} == set(names)
    prefix = re.sub(r"\W+", "-", request.node.name)
    return examine(client, f"{prefix}/.reversible-probe-1/", operations=chosen, lock_s=4)


LIES: list[tuple[Lie, tuple[str, ...], tuple[str, ...]]] = [  # what it lies about, and what stays true
    (lies.DropsAByte(), ("put", "overwrite", "large", "multipart.again", "list"), ("empty", "delete")),
    (lies.LosesAPart(), ("multipart",), ("put", "multipart.again")),
    (lies.KeepsUploads(), ("multipart.abort",), ("multipart",)),
    (lies.ShortRange(), ("range",), ("put",)),
    (lies.WholeForRange(), ("range",), ("put",)),
    (lies.OtherMetadata(), ("metadata", "metadata.names"), ("content.headers", "tags")),
    (lies.NoTags(), ("tags", "tags.unicode"), ("metadata",)),
    (lies.IgnoresConditions(), ("conditional.create", "conditional.replace", "conditional.race"), ("conditional.get",)),
    (lies.IgnoresDigests(), ("md5.wrong", "sha256.wrong", "crc32.wrong"), ("md5", "put")),
    (lies.LosesAName(), ("list", "list.pages"), ("put",)),
    (lies.RepeatsAPage(), ("list.pages",), ("list",)),
    (lies.DeletesNothing(), ("delete",), ("delete.many",)),
    (lies.LetsAnybodyIn(), ("secret.wrong", "secret.unknown", "anonymous", "clock.old"), ("put",)),
    (lies.OneVersion(), ("versions",), ("put",)),
    (lies.NoLock(), ("lock", "lock.hold"), ("lock.default", "versions")),
    (lies.ShortLock(), ("lock",), ("versions",)),
]  # fmt: skip


@pytest.mark.parametrize(("lie", "about", "besides"), LIES, ids=[type(lie).__name__ for lie, _, _ in LIES])
def test_each_lie_is_caught_by_the_operation_that_it_is_about(
    server: SeaweedFS, request: pytest.FixtureRequest, lie: Lie, about: tuple[str, ...], besides: tuple[str, ...]
) -> None:
    sign = (Keys(server.access_key, server.secret_key), server.region)
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=lie), sign=sign) as proxy:
        found = tried(client_of(server, proxy.endpoint_url), request, *about, *besides)

    ended = {one: found[one].outcome for one in (*about, *besides)}
    assert ended == {**dict.fromkeys(about, Outcome.LIES), **dict.fromkeys(besides, Outcome.WORKS)}, found.trials


def test_without_a_lie_all_of_these_work(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    """Else a lie of the server's own would stand for the one that is told."""
    names = {name for _, about, besides in LIES for name in (*about, *besides)}
    found = tried(client_of(server), request, *names)

    assert [one for one in found.trials if one.outcome is not Outcome.WORKS] == []


def test_short_pages_are_no_lie(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    names = [one.id for one in OPERATIONS if one.id.startswith("list")]
    sign = (Keys(server.access_key, server.secret_key), server.region)
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=lies.ShortPages()), sign=sign) as proxy:
        found = tried(client_of(server, proxy.endpoint_url), request, *names)

    assert found.works(*names), found.trials


def test_what_could_not_be_removed_is_said(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    class KeepsAll(Lie):
        def before(self, request):  # type: ignore[no-untyped-def]
            return lies.Reply(204, {}, b"") if request.method == "DELETE" else None

    sign = (Keys(server.access_key, server.secret_key), server.region)
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=KeepsAll()), sign=sign) as proxy:
        found = tried(client_of(server, proxy.endpoint_url), request, "put")

    assert found["clean"].outcome is Outcome.REFUSED
    assert found["clean"].facts["count"] == 1


# --- bounds -------------------------------------------------------------------------------------------------------


def listed(server: SeaweedFS, request: pytest.FixtureRequest) -> list[str]:
    prefix = re.sub(r"\W+", "-", request.node.name)
    answer = server.client().list_object_versions(Bucket=BUCKET, Prefix=f"{prefix}/")
    return [one["Key"] for one in (*answer.get("Versions", ()), *answer.get("DeleteMarkers", ()))]


def test_it_stops_at_its_bounds_and_says_so(
    server: SeaweedFS, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctors, "MAX_REQUESTS", 11)
    found = tried(client_of(server), request, "put", "head", "overwrite", "empty", "delete")

    assert found["put"].outcome is Outcome.WORKS
    assert found["delete"].outcome is Outcome.NOT_TRIED
    assert "11 requests were not enough" in found["delete"].seen
    assert found.failed("transport")
    assert listed(server, request) == []


def test_bytes_are_bounded_too(
    server: SeaweedFS, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctors, "MAX_BYTES", 1_000_000)

    assert tried(client_of(server), request, "large")["large"].outcome is Outcome.NOT_TRIED


def test_whoever_stops_it_finds_nothing_left(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    prefix = re.sub(r"\W+", "-", request.node.name)
    trials = iter(Doctor(client_of(server), f"{prefix}/.reversible-probe-1/", lock_s=3))
    for trial in trials:
        if trial.operation == "multipart.list":
            break
    trials.close()  # type: ignore[attr-defined]  # a generator: what Ctrl-C does to it

    assert listed(server, request) == []


def test_what_a_killed_examination_left_is_swept_an_hour_later(
    server: SeaweedFS, request: pytest.FixtureRequest
) -> None:
    base = re.sub(r"\W+", "-", request.node.name) + "/"
    client = client_of(server)
    for key in (".reversible-probe-1/a", ".reversible-probe-1/b c/é", "data/kept"):
        client.send("PUT", f"{base}{key}", body=b"x")

    assert doctors.sweep(client, base) == 0
    assert doctors.sweep(client, base, older_s=-60) == 2
    assert [one.removeprefix(base) for one in listed(server, request)] == ["data/kept"]


def test_a_server_that_stops_answering_is_not_believed(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    with FaultyProxy(server.endpoint_url, Fault("truncate", method="GET", path="/overwrite")) as proxy:
        found = tried(client_of(server, proxy.endpoint_url), request, "put", "overwrite")

    assert found["put"].outcome is Outcome.WORKS
    assert (found["overwrite"].outcome, found["overwrite"].code) == (Outcome.REFUSED, "NoAnswer")


def test_a_wrong_clock_is_told_from_a_wrong_server(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    wrong = client_of(server, now=lambda: datetime.now(UTC) + timedelta(minutes=10))
    found = tried(wrong, request, "clock")

    assert found["clock"].outcome is Outcome.LIES
    assert -602 <= int(found["clock"].facts["seconds"]) <= -598


def test_a_bucket_in_the_name_of_the_host(
    server: SeaweedFS, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is given an address here: no test changes the machine's own names."""
    real = socket.getaddrinfo

    def known(host: Any, *more: Any, **options: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith("localhost") else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    named = client_of(server, server.endpoint_url.replace("127.0.0.1", "localhost"))
    found = tried(named, request, "address.path", "address.host")

    assert found.works("address.path", "address.host")


def test_a_name_that_nobody_knows_is_no_fault_of_the_server(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    named = client_of(server, server.endpoint_url.replace("127.0.0.1", "localhost"))

    assert tried(named, request, "address.host")["address.host"].outcome is Outcome.NOT_TRIED


# --- what follows -------------------------------------------------------------------------------------------------


def examination(**outcomes: str) -> Examination:
    """As if these had ended so, and all others had worked; "_" stands for "."."""
    given = {name.replace("_", "."): Outcome(outcome) for name, outcome in outcomes.items()}
    trials = [
        Trial(
            operation=one.id, outcome=given.get(one.id, Outcome.WORKS), need=one.need,
            said="parts up to number {number}", facts={"number": 10_000},
        )
        for one in OPERATIONS
    ]  # fmt: skip
    return Examination(trials=tuple(trials), requests=1, bytes_sent=1, seconds=1.0)


@pytest.mark.parametrize(
    ("outcomes", "checksum"),
    [
        ({}, "sha256"),
        ({"sha256_wrong": "lies"}, "md5"),
        ({"sha256": "not tried", "md5_wrong": "lies"}, "crc32"),
        ({"sha256": "refused", "md5": "refused", "crc32_wrong": "lies"}, "signature"),
        ({"sha256": "lies", "md5": "lies", "crc32": "lies", "payload_wrong": "lies"}, "none"),
    ],
)
def test_uploads_carry_a_digest_of_which_a_wrong_one_was_refused(outcomes: dict[str, str], checksum: str) -> None:
    assert Settings.of(examination(**outcomes), virtual=False).checksum == checksum


def test_parts_are_as_large_as_the_number_of_parts_asks() -> None:
    many = Settings.of(examination(), virtual=False)
    few = Settings.of(examination(multipart_numbers="refused"), virtual=False)
    mib, gib = 1 << 20, 1 << 30

    assert (many.parts, few.parts) == (10_000, 1_000)
    assert many.part_bytes(1) == few.part_bytes(1_000 * 16 * mib) == 16 * mib
    assert few.part_bytes(1_000 * 16 * mib + 1) == 17 * mib
    assert few.part_bytes(100 * gib) * 1_000 >= 100 * gib
    assert few.part_bytes(5_000 * gib) == 5 * gib
    with pytest.raises(ValueError, match="do not fit"):
        few.part_bytes(5_000 * gib + 1)


@pytest.mark.parametrize("need", ["transport", "trust"])
@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.LIES, Outcome.NOT_TRIED])
def test_whatever_does_not_work_of_what_is_needed_is_found(need: str, outcome: Outcome) -> None:
    name = next(one.id for one in OPERATIONS if one.need == need)
    found = examination(**{name.replace(".", "_"): str(outcome)})

    assert [one.operation for one in found.failed("transport", "trust")] == [name]
    assert bool(found.failed("transport")) == (need == "transport")


def test_every_operation_has_a_name_of_its_own() -> None:
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)
    assert len({one.title for one in OPERATIONS}) == len(OPERATIONS)


def sentences() -> set[str]:
    """Every constant that an operation may say: arguments of the functions that end a trial, and notes."""
    found: set[str] = set()
    for source in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if called in ("lies", "not_tried", "must_refuse", "Ended"):
                    found |= {one.value for one in node.args if isinstance(one, ast.Constant)}
                found |= {
                    one.value.value for one in node.keywords
                    if one.arg == "said" and isinstance(one.value, ast.Constant)
                }  # fmt: skip
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[1], ast.Dict):
                found |= {one.value for one in node.elts[:1] if isinstance(one, ast.Constant)}
    return {one for one in found if one}


def test_all_of_it_is_said_in_french() -> None:
    titles = {one.title for one in (*OPERATIONS, doctors.CLEAN)}

    assert titles == set(words.FRENCH)
    assert sentences() - set(words.SAID) == set()
    assert set(words.SAID) - sentences() <= {
        "its answer has another form than S3's: {why}", "{count} objects below {prefix} could not be removed"
    }  # fmt: skip
    for english, french in words.SAID.items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", french)), english


def test_a_server_cannot_write_on_the_terminal(server: SeaweedFS, request: pytest.FixtureRequest) -> None:
    class Loud(Lie):
        def before(self, request):  # type: ignore[no-untyped-def]
            body = b"<Error><Code>Slow{Down}</Code><Message>{0}\x1b[2J\x07 wait</Message></Error>"
            return lies.Reply(400, {}, body) if request.method == "PUT" else None

        def after(self, request, reply):  # type: ignore[no-untyped-def]
            return reply

    with FaultyProxy(server.endpoint_url, Fault("lie", lie=Loud())) as proxy:
        found = tried(client_of(server, proxy.endpoint_url), request, "put")

    assert words.line(found["put"], "fr").endswith("[put]: 400: (0)?[2J? wait")


def test_a_line_says_what_was_seen() -> None:
    trial = Trial(operation="put", outcome=Outcome.REFUSED, code="SlowDown", said="come again")

    assert words.line(trial, "en") == "refused    an object is put and read back [put]: SlowDown: come again"
    assert words.line(trial, "fr").startswith("refusé     un objet est déposé et relu [put]")


# --- through a proxy ------------------------------------------------------------------------------------------------


def test_the_customers_own_proxy_is_used_and_sees_nothing(
    server: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONNECT, then TLS to the storage itself: through HTTPS_PROXY, and not where NO_PROXY excepts the host."""
    authority = Authority(tmp_path / "authority")
    asked: list[str] = []

    def connect(inside: socket.socket) -> None:
        with inside, inside.makefile("rb") as lines:
            asked.append(lines.readline().decode())
            while lines.readline().strip():
                pass
            _, where, _ = asked[-1].split()
            host, _, port = where.partition(":")
            with socket.create_connection((host, int(port))) as outside:
                inside.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
                one = threading.Thread(target=pump, args=(inside, outside), daemon=True)
                one.start()
                pump(outside, inside)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=connect, args=(listener.accept()[0],), daemon=True).start()

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        TLSFront(server.endpoint_url, authority.server("127.0.0.1")) as front,
    ):
        threading.Thread(target=accept, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        tls = trust.context(str(authority.bundle), {})
        through = client_of(server, front.endpoint_url, tls=tls)
        assert through.send("PUT", "proxy", body=b"secret words").ok
        assert through.send("GET", "proxy").body == b"secret words"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert client_of(server, front.endpoint_url, tls=tls).send("GET", "proxy").body == b"secret words"
        where = front.endpoint_url.removeprefix("https://")

    assert asked == [f"CONNECT {where} HTTP/1.0\r\n"]


# --- signatures and keys --------------------------------------------------------------------------------------------


def test_a_signature_is_that_of_the_standard() -> None:
    """READ (AWS, "Signature calculations for the Authorization header", example GET Object)."""
    headers = signing.signed(
        method="GET", host="examplebucket.s3.amazonaws.com", path="/test.txt", query={},
        headers={"range": "bytes=0-9"}, payload=signing.EMPTY,
        keys=Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), region="us-east-1",
        at=datetime(2013, 5, 24, tzinfo=UTC),
    )  # fmt: skip

    assert headers["authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_link_is_that_of_the_standard() -> None:
    """READ (AWS, "Authenticating requests: using query parameters", its example)."""
    query = signing.presigned(
        method="GET", host="examplebucket.s3.amazonaws.com", path="/test.txt", expires_s=86_400,
        keys=Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), region="us-east-1",
        at=datetime(2013, 5, 24, tzinfo=UTC),
    )  # fmt: skip

    assert query["X-Amz-Signature"] == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


def test_keys_come_from_the_environment_or_the_shared_file_and_are_never_shown(tmp_path: Path) -> None:
    place = tmp_path / "credentials"
    place.write_text("[sortie]\naws_access_key_id = FILE\naws_secret_access_key = hush%1\n")
    file = {"AWS_SHARED_CREDENTIALS_FILE": str(place)}

    given = Keys.found({"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_SESSION_TOKEN": "t"})
    assert (given.access_key, given.secret_key, given.token) == ("ENV", "hush", "t")
    assert Keys.found({**file, "AWS_PROFILE": "sortie"}).secret_key == "hush%1"
    assert "hush" not in repr(given)
    for environ in (file, {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}):
        with pytest.raises(DestinationError, match="no S3 credentials"):
            Keys.found(environ)
    place.write_text("aws_secret_access_key = hush\n")
    with pytest.raises(DestinationError) as caught:
        Keys.found(file)
    assert "hush" not in caught.value.message


def test_a_line_that_breaks_is_tried_again_and_one_that_stays_broken_is_said(server: SeaweedFS) -> None:
    with FaultyProxy(server.endpoint_url) as proxy:
        client = client_of(server, proxy.endpoint_url)
        client.send("PUT", "retry", body=b"x" * 4096)
        proxy.fault = Fault("truncate", method="GET", path="/retry")
        with pytest.raises(UnreachableError, match="IncompleteRead"):
            client.send("GET", "retry")
    with pytest.raises(UnreachableError, match="cannot be reached: Connection refused"):
        client.send("GET", "retry")
