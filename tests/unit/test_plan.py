"""An exit plan is read whole, or refused with every fault at its line; no secret is ever repeated."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import fake_exporter
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reversible import plan
from reversible.assets import Asset, Kind
from reversible.errors import UsageError
from reversible.plan.exit_plan import json_values

GOOD = """\
version = 1

[contract]
title = "Hosting of the shop"
customer = "Alpes SAS"
provider = "Vendor Cloud"
reference = "2026-017"
signed = 2026-01-15
languages = ["fr", "en"]

[clauses]
profiles = ["baseline", "ai"]
flags = ["iaas"]

[[clauses.criterion]]
clause = "MOD-03"
metric = "model.max_abs_diff"
value = 0.0001
basis = "contract"
note = "annex 3"

[facts]
"contract.notice_days" = 60
"contract.three_choices" = true
"contract.countries_declared" = ["FR", "DE"]

[[document]]
id = "exit_plan"
clause = "GOV-01"
path = "documents/plan.pdf"
read_by = "counsel"
read_on = 2026-11-20
opinion = "accepts"

[source.box]
kind = "filebox"
url = "filebox://reader:${BOX_PASSWORD}@box.example/"
password = "${BOX_PASSWORD}"
cache = "/var/cache/box"
include = ["public.*", "model:*"]

[source.box.logins.a]
user = "a"
key = "${A_KEY}"

[[source.box.exclude]]
pattern = "public.tmp_*"
reason = "rebuilt every night"

[destination]
kind = "local"
country = "FR"

[destination.storage]
url = "s3://sortie/exit"
endpoint_url = "http://127.0.0.1:8333"
region = "eu-local"
access_key = "${EU_ACCESS_KEY}"
secret_key = "${EU_SECRET_KEY}"

[exit]
triggers = ["the provider closes"]
scenarios = ["planned", "stressed"]
alternatives = ["another"]
steps = ["export", "restore"]
success_criteria = ["every clause"]
duration_hours = 72
next_rehearsal = 2027-05-24

[exit.roles]
owner = "CTO"
"""
LINES = GOOD.splitlines()


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_exporter.install(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exit-plan.toml"


def load(file: Path, text: str = GOOD) -> plan.Plan:
    file.write_text(text, encoding="utf-8")
    return plan.load(file)


def refused(file: Path, text: str) -> list[str]:
    """The lines of the refusal, without the file's name."""
    with pytest.raises(UsageError) as raised:
        load(file, text)
    assert raised.value.hint
    return [line.removeprefix(f"{file}:") for line in raised.value.message.splitlines()]


def asset(name: str, kind: Kind = Kind.TABLE) -> Asset:
    return Asset(source="box", kind=kind, name=name)


# --- a good plan ---------------------------------------------------------------------------------------------------


def test_a_good_plan_answers_with_typed_values(file: Path) -> None:
    found = load(file)

    assert found.profiles == ("baseline", "ai")
    assert found.flags == ("iaas",)
    assert found.overrides == (
        {"clause": "MOD-03", "metric": "model.max_abs_diff", "value": 0.0001, "basis": "contract", "note": "annex 3"},
    )
    assert found.facts == {
        "contract.notice_days": 60,
        "contract.three_choices": True,
        "contract.countries_declared": ["FR", "DE"],
    }
    assert found.written.contract.signed == date(2026, 1, 15)
    assert found.languages == ("fr", "en")
    assert found.duration_hours == 72
    assert found.missing_exit_fields() == ()
    assert found.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert found.describe_destination() == {
        "kind": "local",
        "country": "FR",
        "storage": {"url": "s3://sortie/exit", "endpoint_url": "http://127.0.0.1:8333", "region": "eu-local"},
    }


def test_the_smallest_plan_includes_everything_and_lacks_every_exit_field(file: Path) -> None:
    found = load(
        file,
        'version = 1\ncontract = { title = "a", customer = "b", provider = "c" }\nclauses.profiles = ["baseline"]\n'
        '[source.box]\nkind = "loose"\n[destination]\n',
    )

    assert found.unlisted([asset("anything/at.all")]) == ()
    assert found.open_storage() is None
    assert found.read_documents() == []
    assert set(found.missing_exit_fields()) == {
        f"exit.{name}"
        for name in (
            *("triggers", "scenarios", "roles", "alternatives", "steps"),
            *("success_criteria", "duration_hours", "next_rehearsal"),
        )
    }


@pytest.mark.parametrize("field", ["triggers", "scenarios", "alternatives", "steps", "success_criteria"])
def test_an_empty_list_in_the_exit_plan_counts_as_missing(file: Path, field: str) -> None:
    line = next(line for line in LINES if line.startswith(f"{field} = "))

    assert load(file, GOOD.replace(line, f"{field} = []")).missing_exit_fields() == (f"exit.{field}",)


def test_the_sealed_plan_is_json_as_written_with_references(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOX_PASSWORD", "hunter2")

    sealed = load(file).sealed()

    assert json.loads(json.dumps(sealed, allow_nan=False)) == sealed
    assert sealed["source"]["box"]["password"] == "${BOX_PASSWORD}"
    assert sealed["exit"]["next_rehearsal"] == "2027-05-24"
    assert "hunter2" not in json.dumps(sealed)


def test_a_byte_order_mark_and_windows_line_ends_are_read(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())

    assert plan.load(file).profiles == ("baseline", "ai")


# --- secrets -------------------------------------------------------------------------------------------------------


def test_exporters_are_built_with_their_own_settings_and_hold_references(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(file)
    built = found.exporters()["box"]
    assert isinstance(built, fake_exporter.FileboxExporter)
    monkeypatch.setenv("BOX_PASSWORD", "hunter2")

    assert built.name == "box"
    assert built.settings.cache == Path("/var/cache/box")
    assert built.settings.password.reveal() == "hunter2"
    assert built.settings.url.reveal() == "filebox://reader:hunter2@box.example/"
    shown = f"{found!r} {found} {built.settings!r} {found.written.model_dump()} {pickle.dumps(found)!r} {vars(found)}"
    assert "hunter2" not in shown


def test_a_missing_variable_names_itself_and_the_key(file: Path) -> None:
    found = load(file)
    settings = found.settings["box"]
    assert isinstance(settings, fake_exporter.FileboxSettings)

    with pytest.raises(UsageError, match=r"source\.box\.password: the environment variable BOX_PASSWORD is not set"):
        settings.password.reveal({})
    with pytest.raises(UsageError, match=r"destination\.storage\.access_key: .* EU_ACCESS_KEY") as raised:
        found.open_storage(environ={})
    assert raised.value.hint == "export EU_ACCESS_KEY=..."
    with pytest.raises(UsageError, match="somewhere: the environment variable GONE is not set"):
        found.resolve("${GONE}", key="somewhere", environ={})


def test_the_storage_is_opened_with_what_the_variables_hold(file: Path) -> None:
    storage = load(file).open_storage(
        below="run-1", environ={"EU_ACCESS_KEY": "key-of-today", "EU_SECRET_KEY": "hunter2"}
    )

    assert storage is not None
    assert storage.name == "s3://sortie/exit/run-1"
    assert "hunter2" not in repr(storage)


SECRET_PLACES = [
    ('password = "${BOX_PASSWORD}"', "password = {}"),
    ('password = "${BOX_PASSWORD}"', "password = [{}]"),
    ('password = "${BOX_PASSWORD}"', "password.value = {}"),
    ('password = "${BOX_PASSWORD}"', "passwort = {}"),
    ('password = "${BOX_PASSWORD}"', 'password = "${BOX_PASSWORD}"\nport = {}'),
    ('password = "${BOX_PASSWORD}"', 'password = "${BOX_PASSWORD}"\nshelf = {}'),
    ('password = "${BOX_PASSWORD}"', 'password = "${BOX_PASSWORD}"\ncache = [{}]'),
    ('key = "${A_KEY}"', "key = {}"),
    ('key = "${A_KEY}"', "kye = {}"),
    ('secret_key = "${EU_SECRET_KEY}"', "secret_key = {}"),
    ('secret_key = "${EU_SECRET_KEY}"', "secret_kye = {}"),
    ('url = "s3://sortie/exit"', "url = {}"),
    ('endpoint_url = "http://127.0.0.1:8333"', "endpoint_url = {}"),
]
URL_PLACES = [
    ('url = "filebox://reader:${BOX_PASSWORD}@box.example/"', "url = {}"),
    ('endpoint_url = "http://127.0.0.1:8333"', "endpoint_url = {}"),
    ('url = "s3://sortie/exit"', "url = {}"),
    ('title = "Hosting of the shop"', "title = {}"),
    ('region = "eu-local"', "region = {}"),
]
literals = st.text("abcdefgh0123456789!%+-_éŁ' \n", min_size=5, max_size=12).map(lambda text: f"Zq{text}Xw")
unshared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@unshared
@given(place=st.sampled_from(SECRET_PLACES), literal=literals)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, place: tuple[str, str], literal: str) -> None:
    before, after = place

    with pytest.raises(UsageError) as raised:
        load(tmp_path / "plan.toml", GOOD.replace(before, after.replace("{}", json.dumps(literal))))

    assert literal not in raised.value.message + raised.value.hint
    assert literal[:6] not in raised.value.message
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@unshared
@given(place=st.sampled_from(URL_PLACES), literal=st.text("abcdefgh0123456789!%+-_é$", min_size=5, max_size=12))
def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path, place: tuple[str, str], literal: str) -> None:
    before, after = place
    url = f"postgresql://u:Zq{literal}@h/db"

    with pytest.raises(UsageError) as raised:
        load(tmp_path / "plan.toml", GOOD.replace(before, after.replace("{}", json.dumps(url))))

    assert literal not in raised.value.message + raised.value.hint
    assert "password in clear (not shown)" in raised.value.message


@unshared
@given(data=st.data(), literal=literals)
def test_a_file_broken_around_a_secret_does_not_repeat_it(tmp_path: Path, data: st.DataObject, literal: str) -> None:
    text = GOOD.replace('"${BOX_PASSWORD}"\n', f"{json.dumps(literal)}\n", 1)
    at = data.draw(st.integers(0, len(text)))
    broken = (
        text[:at] + data.draw(st.sampled_from(['"', "'", "\n", "[", "]", "{", "=", ".", "\x01", "\\", "#"])) + text[at:]
    )

    with pytest.raises(UsageError) as raised:
        load(tmp_path / "plan.toml", broken[: data.draw(st.integers(at, len(broken)))])

    assert literal not in raised.value.message
    assert literal[:6] not in raised.value.message


def test_a_careless_plugin_cannot_put_a_password_into_the_plan(file: Path) -> None:
    text = GOOD.replace('kind = "filebox"', 'kind = "loose"')

    said = "\n".join(refused(file, text.replace('password = "${BOX_PASSWORD}"', 'password = "hunter2"\nsizes = 2')))

    assert ": source.box.password: found a secret in clear (not shown)" in said
    assert (
        ": source.box.sizes: unknown key; allowed: canary, exclude, include, kind, password, size; did you mean 'size'?"
        in (said)
    )
    assert "hunter2" not in said


# --- faults --------------------------------------------------------------------------------------------------------

FAULTS = [
    # what is written, what stands there instead, the line, what is said
    ("version = 1", "version = 2", 1, "version: found 2; allowed: 1"),
    ("version = 1", 'version = "1"', 1, "version: found '1'; allowed: 1; without the quotes"),
    ("version = 1", "", 1, "version: required, and missing"),
    ('customer = "Alpes SAS"\n', "", 3, "contract.customer: required, and missing"),
    ('title = "Hosting of the shop"', 'title = " "', 4, "contract.title: found ' '; allowed: text that is not blank"),
    ('title = "Hosting of the shop"', "title = 5", 4, "contract.title: found 5; allowed: text in quotes"),
    (
        'title = "Hosting of the shop"',
        'title = "${SHOP-TITLE}"',
        4,
        "contract.title: found ${ without a name and }; allowed: ${NAME}, with letters, digits and _",
    ),
    ('customer = "Al', 'custommer = "Al', 5, "contract.custommer: unknown key; allowed: customer, languages, "),
    (
        "signed = 2026-01-15",
        'signed = "soon"',
        8,
        "contract.signed: found 'soon'; allowed: a date, such as 2026-11-24",
    ),
    (
        "signed = 2026-01-15",
        "signed = 2026-01-15T12:00:00",
        8,
        "contract.signed: found 2026-01-15 12:00:00; allowed: a date, such as 2026-11-24",
    ),
    (
        'languages = ["fr", "en"]',
        'languages = [\n "fr",\n "eng"]',
        11,
        "contract.languages[1]: found 'eng'; allowed: fr, en; did you mean 'en'?",
    ),
    (
        'languages = ["fr", "en"]',
        'languages = ["fr", "fr"]',
        9,
        "contract.languages: found a list of 2; allowed: each item once",
    ),
    (
        'languages = ["fr", "en"]',
        "languages = []",
        9,
        "contract.languages: found an empty list; allowed: at least 1",
    ),
    ('["baseline", "ai"]', '["baselin"]', 12, "clauses.profiles[0]: found 'baselin'; allowed: data_act, dora_cif,"),
    ('flags = ["iaas"]', 'flags = ["paas"]', 13, "clauses.flags[0]: found 'paas'; allowed: custom_built,"),
    (
        'clause = "MOD-03"',
        'clause = "MD-03"',
        16,
        "clauses.criterion[0].clause: found 'MD-03'; allowed: a clause of `reversible clauses`; did you mean 'MOD-03'?",
    ),
    (
        'metric = "model.max_abs_diff"',
        'metric = "model.max_diff"',
        17,
        "clauses.criterion[0].metric: found 'model.max_diff'; allowed: model.inputs_compared, model.agreement_lb95, "
        "model.max_abs_diff, model.metric_delta_points, model.error_ratio_median, model.error_ratio_max, "
        "model.parameters_altered, model.equivalence, model.parameters_found_pct; did you mean 'model.max_abs_diff'?",
    ),
    ("value = 0.0001", "value = true", 18, "clauses.criterion[0].value: found true; allowed: a number"),
    ("value = 0.0001", "value = inf", 18, "clauses.criterion[0].value: found inf; allowed: a finite number"),
    ("value = 0.0001", "value = nan", 18, "clauses.criterion[0].value: found nan; allowed: a finite number"),
    (
        'basis = "contract"',
        'basis = "contrat"',
        19,
        "clauses.criterion[0].basis: found 'contrat'; allowed: law, standard, supervisor, contract, default; "
        "did you mean 'contract'?",
    ),
    ('"contract.notice_days" = 60', '"contract.notice_days" = "60"', 23, "facts.'contract.notice_days': found '60';"),
    ('"contract.notice_days" = 60', '"contract.notice_dayz" = 6', 23, "facts.'contract.notice_dayz': unknown fact;"),
    (
        '"contract.notice_days" = 60',
        '"data.rows_missing" = 0',
        23,
        "facts.'data.rows_missing': data.rows_missing is measured (verify), never typed;",
    ),
    ('id = "exit_plan"', 'id = "exitplan"', 28, "document[0].id: found 'exitplan'; allowed: exit_plan; did you mean"),
    (
        'clause = "GOV-01"',
        'clause = "GOV-02"',
        28,
        "document[0].id: GOV-02 asks for no document",
    ),
    (
        'path = "documents/plan.pdf"',
        'path = "/etc/passwd"',
        30,
        "document[0].path: found '/etc/passwd'; allowed: a path relative to the plan's own directory, "
        "with / between its parts",
    ),
    ("read_on = 2026-11-20", "read_on = 0026-11-20", 32, "document[0].read_on: found 0026-11-20; allowed: greater"),
    ('opinion = "accepts"', 'opinion = "accept"', 33, "document[0].opinion: found 'accept'; allowed: accepts, contra"),
    ("[source.box]", '[source."a b"]', 35, "source.'a b': found this name; allowed: a name of at most 63 letters,"),
    (
        'kind = "filebox"',
        'kind = "fillbox"',
        36,
        "source.box.kind: found 'fillbox'; allowed: filebox, loose, ruin; did you mean 'filebox'?",
    ),
    ('kind = "filebox"', "kind = 1", 36, "source.box.kind: found 1; allowed: text in quotes"),
    ('kind = "filebox"', "", 35, "source.box.kind: required, and missing"),
    ('kind = "filebox"', 'kind = "ruin"', 36, "source.box.kind: the exporter ruin is installed but cannot be loaded:"),
    ('cache = "/var/cache/box"', "port = 0", 39, "source.box.port: found 0; allowed: greater than or equal to 1"),
    ('cache = "/var/cache/box"', 'port = "1"', 39, "source.box.port: found text; allowed: a whole number"),
    (
        'cache = "/var/cache/box"',
        'mode = "fsat"',
        39,
        "source.box.mode: found 'fsat'; allowed: fast, gentle; did you mean 'fast'?",
    ),
    ('cache = "/var/cache/box"', 'shelf = "much too long"', 39, "source.box.shelf: found text; not accepted"),
    (
        'cache = "/var/cache/box"',
        'exclud = ["x"]',
        39,
        "source.box.exclud: unknown key; allowed: cache, canary, exclude, include, kind, logins, mode, password, port,"
        " shelf, url; did you mean 'exclude'?",
    ),
    ('user = "a"\n', 'usr = "a"\n', 42, "source.box.logins.a.user: required, and missing"),
    ('user = "a"\n', 'usr = "a"\n', 43, "source.box.logins.a.usr: unknown key; allowed: key, user; did you mean"),
    ('reason = "rebuilt every night"', "", 46, "source.box.exclude[0].reason: required, and missing"),
    ('reason = "rebuilt every night"', 'reason = "\\t"', 48, "source.box.exclude[0].reason: found '\\t'; allowed: t"),
    ('kind = "local"', 'kind = "moon"', 51, "destination.kind: found 'moon'; allowed: local"),
    ('kind = "local"', 'kind = "ssh"', 50, "destination: found a table; allowed: host and kit, where kind is ssh"),
    ('kind = "local"', 'host = "eu"', 50, 'destination: found a table; allowed: kind = "ssh" with host'),
    ('kind = "local"', 'host = "-oProxyCommand"', 51, "destination.host: found '-oProxyCommand'; allowed: a host's"),
    ('kind = "local"', 'kit = "/kit"', 51, "destination.kit: found '/kit'; allowed: a path relative to the plan's"),
    ('kind = "local"', 'folder = "a b"', 51, "destination.folder: found 'a b'; allowed: a path of letters"),
    ('country = "FR"', 'country = "fr"', 52, "destination.country: found 'fr'; allowed: two capital letters, such as"),
    ('url = "s3://sortie/exit"', 'url = "sortie"', 55, "destination.storage.url: found text; allowed: s3://bucket/pre"),
    ('region = "eu-local"\n', "", 54, "destination.storage.region: required, and missing"),
    (
        'access_key = "${EU_ACCESS_KEY}"\n',
        "",
        54,
        "destination.storage: found a table; allowed: access_key and secret_key together, or neither",
    ),
    ("duration_hours = 72", "duration_hours = 0", 67, "exit.duration_hours: found 0; allowed: greater than 0"),
    ("duration_hours = 72", f"duration_hours = 0x{'f' * 5000}", 67, "exit.duration_hours: found a whole number of"),
    ('steps = ["export", "restore"]', 'steps = [""]', 65, "exit.steps[0]: found ''; allowed: text that is not blank"),
    ('steps = ["export", "restore"]', 'steps = "export"', 65, "exit.steps: found 'export'; allowed: a list"),
    ('"restore"]', '"re\\u0000"]', 65, "exit.steps[1]: found a NUL character; allowed: text without"),
    ("[exit.roles]", "[exitt.roles]", 70, "exitt: unknown key; allowed: clauses, contract, destination, document,"),
    ("[exit.roles]", '["\\u001b[2J".x]', 70, "'\\x1b[2J': unknown key;"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "line", "said"), FAULTS)
def test_a_fault_is_said_with_line_key_found_and_allowed(
    file: Path, before: str, after: str, line: int, said: str
) -> None:
    assert GOOD.count(before) == 1 or before == 'kind = "local"'

    lines = refused(file, GOOD.replace(before, after))

    assert any(one.startswith(f"{line}: {said}") for one in lines), lines


def test_all_faults_come_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = GOOD
    chosen = [FAULTS[0], FAULTS[3], FAULTS[17], FAULTS[28], FAULTS[-4]]
    for before, after, _, _ in chosen:
        text = text.replace(before, after)

    lines = refused(file, text)

    assert len(lines) >= len(chosen)
    numbers = [int(line.split(":")[0]) for line in lines]
    assert numbers == sorted(numbers)


def test_the_hint_opens_the_file_at_the_first_fault(tmp_path: Path) -> None:
    odd = tmp_path / "my plan.toml"
    with pytest.raises(UsageError) as raised:
        load(odd, GOOD.replace("signed = 2026-01-15", "signed = 1"))

    assert raised.value.hint == f"${{EDITOR:-vi}} +8 '{odd}'"


def test_a_threshold_or_a_document_named_twice_is_refused(file: Path) -> None:
    criterion = "\n".join(LINES[14:20]) + "\n"
    document = "\n".join(LINES[26:33]) + "\n"

    lines = refused(
        file, GOOD.replace("[facts]", f"{criterion}[facts]").replace("[source.box]", f"{document}[source.box]")
    )

    assert "clauses.criterion[1].metric: model.max_abs_diff of MOD-03 is set twice; allowed: once" in lines[0]
    assert "document[1].id: exit_plan of GOV-01 is named twice; allowed: once" in lines[1]


@pytest.mark.parametrize("missing", ["contract", "clauses", "source", "destination"])
def test_a_table_that_is_missing_or_no_table_is_named(file: Path, missing: str) -> None:
    document = {key: value for key, value in tomllib.loads(GOOD).items() if key != missing}
    rest = "".join(f"{json.dumps(key)} = {_inline(value)}\n" for key, value in document.items())

    assert f"1: {missing}: required, and missing" in refused(file, rest)
    assert any(f": {missing}: found 1; allowed: a table" in line for line in refused(file, rest + f"{missing} = 1\n"))
    if missing == "source":
        assert any(
            ": source: found a table; allowed: at least 1" in line for line in refused(file, rest + "source = {}")
        )


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return value.isoformat() if isinstance(value, date) else json.dumps(value)


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'version = 1\ntitle = "caf\xe9"\n', ":2: byte 0xe9 is not UTF-8 text"),
        (b"version = 1\nversion\n", ":2: not TOML: Expected '=' after a key in a key/value pair, column 8"),
        (b'version = 1\n\n[contract\ntitle = "x"\n', ":3: not TOML: Expected ']' at the end of a table declaration"),
        (b'version = "1', ":1: not TOML: Unterminated string, at the end of the file"),
        (b"a = 1\na = 2\n", ":2: not TOML: Cannot overwrite a value"),
        (b"a = " + b"9" * 5000, ": not TOML: a number or a date that no computer holds"),
        (b"a = " + b"[" * 5000, ": nested too deeply"),
        (b"a = " + b"[" * 40 + b"]" * 40, ": nested deeper than 32 tables"),
        (b"#" * (2 << 20), ": larger than 1 MiB, which no exit plan is"),
        (b"", ":1: version: required, and missing"),
        (b"\0", ":1: not TOML: Invalid statement, column 1"),
    ],
)
def test_a_file_that_is_no_plan_is_one_message_with_its_place(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)

    with pytest.raises(UsageError) as raised:
        plan.load(file)
    assert raised.value.message.startswith(f"{file}{said}")
    assert raised.value.hint


def test_a_plan_that_cannot_be_opened_says_why_and_what_to_type(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    cases = {
        "gone.toml": ("there is no such exit plan", f"reversible init {tmp_path}/gone.toml"),
        ".": ("is a directory, not an exit plan", f"reversible check {tmp_path}/exit-plan.toml"),
        "pipe": ("is not a file", f"ls -l {tmp_path}/pipe"),
        "loop": ("cannot be read: Too many levels of symbolic links", f"ls -l {tmp_path}/loop"),
        "a\0b": ("cannot be read: not a file name", ""),
        "x" * 300: ("cannot be read: File name too long", ""),
    }

    for name, (said, hint) in cases.items():
        with pytest.raises(UsageError) as raised:
            plan.load(tmp_path / name)
        assert said in raised.value.message
        assert raised.value.hint.startswith(hint)


@unshared
@given(content=st.binary(max_size=200))
def test_random_bytes_are_refused_without_a_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.toml").write_bytes(content)

    with pytest.raises(UsageError):
        plan.load(tmp_path / "plan.toml")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.data())
def test_a_plan_with_changes_anywhere_is_read_or_refused_and_never_breaks(tmp_path: Path, data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        value = data.draw(st.sampled_from(["", "1", "-0.0", "true", "nan", '"x"', '"${A}"', "[]", "[1, {}]", "{}"]))
        key, equals, _ = lines[at].partition(" = ")
        lines[at] = data.draw(
            st.sampled_from([f"{key} = {value}" if equals else "", "", lines[at] * 2, f"z.{lines[at]}", "[a]", "[[a]]"])
        )

    try:
        found = load(tmp_path / "plan.toml", "\n".join(lines))
    except UsageError:
        return
    json.dumps(found.sealed(), allow_nan=False)


# --- documents -----------------------------------------------------------------------------------------------------


def test_documents_carry_the_digest_of_their_bytes(file: Path) -> None:
    (file.parent / "documents").mkdir()
    (file.parent / "documents/plan.pdf").write_bytes(b"%PDF-")

    assert load(file).read_documents() == [
        {
            "id": "exit_plan",
            "clause": "GOV-01",
            "path": "documents/plan.pdf",
            "read_by": "counsel",
            "read_on": "2026-11-20",
            "opinion": "accepts",
            "sha256": hashlib.sha256(b"%PDF-").hexdigest(),
            "size_bytes": 5,
        }
    ]


def test_a_document_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(UsageError, match=r"document\[0\]\.path: .*plan\.pdf cannot be read: No such file") as raised:
        load(file).read_documents()
    assert raised.value.hint == f"ls -l {file.parent / 'documents'}"

    (file.parent / "documents/plan.pdf").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"plan\.pdf is not a file"):
        load(file).read_documents()


# --- scope ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canary", "said"),
    [
        ('row = {id = 1}\nkey = "objet-7"', "row, or key and sha256 together"),
        ('key = "objet-7"', "row, or key and sha256 together"),
        ("", "row, or key and sha256 together"),
        ('row = {id = 1}\nnull = ["id"]', "null with the columns of row that have no value there"),
        ('key = "objet-7"\nsha256 = "abc"', "64 hex digits"),
        ("row = {}", "1"),
        ("row = {solde = 0.1}", "source.box.canary[0].row.solde"),
        ('row = {id = 1}\nvalue = "a"', "unknown key"),
    ],
)
def test_what_cannot_have_been_planted_is_refused(file: Path, canary: str, said: str) -> None:
    text = GOOD.replace("[destination]\n", f'[[source.box.canary]]\nasset = "public.t"\n{canary}\n[destination]\n', 1)

    assert said in "\n".join(refused(file, text))


def test_scope_excludes_with_the_reason_and_leaves_the_rest(file: Path) -> None:
    found = load(file)

    assert found.scope(asset("public.orders")).excluded is None
    assert found.scope(asset("public.tmp_1")).excluded == "rebuilt every night"
    assert found.scope(asset("elsewhere.x")) == asset("elsewhere.x")


def test_what_no_pattern_names_is_unlisted_and_never_dropped_in_silence(file: Path) -> None:
    assets = [asset("public.orders"), asset("public.tmp_1"), asset("other.x"), asset("Public.orders")]
    assets += [asset("m", Kind.MODEL), asset("m", Kind.TABLE)]

    assert [(one.kind, one.name) for one in load(file).unlisted(assets)] == [
        ("table", "other.x"),
        ("table", "Public.orders"),
        ("table", "m"),
    ]


@pytest.mark.parametrize(
    ("pattern", "kind", "name", "named"),
    [
        ("*", Kind.TABLE, "a.b/c:d", True),
        ("public.*", Kind.TABLE, "public.a.b", True),
        ("public.?", Kind.TABLE, "public.ab", False),
        ("[ab]", Kind.TABLE, "b", True),
        ("table:*", Kind.TABLE, "x", True),
        ("table:*", Kind.MODEL, "table:x", False),
        ("table*", Kind.TABLE, "x", False),
        ("bucket:a", Kind.OBJECTS, "bucket:a", True),
        ("a", Kind.TABLE, "a\n", False),
        ("a*", Kind.TABLE, "a\nb", True),
    ],
)
def test_patterns_are_a_shells_over_the_whole_name(
    file: Path, pattern: str, kind: Kind, name: str, named: bool
) -> None:
    found = load(file, GOOD.replace('include = ["public.*", "model:*"]', f"include = [{json.dumps(pattern)}]"))

    assert (found.unlisted([asset(name, kind)]) == ()) is named


def test_a_pattern_that_names_nothing_is_told(file: Path) -> None:
    assert load(file).idle_patterns([asset("public.orders")]) == (
        "source.box.include: 'model:*'",
        "source.box.exclude: 'public.tmp_*'",
    )


# --- schema and imports --------------------------------------------------------------------------------------------


def test_the_schema_accepts_the_good_plan_and_refuses_what_the_reader_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_exporter.install(monkeypatch, ruin=False)
    schema = plan.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    accepted = 0

    assert validator.is_valid(json_values(tomllib.loads(GOOD)))
    for before, after, _, _ in FAULTS:
        if any(part in after for part in ("0x", "nan", "inf", "u001b")):
            continue  # JSON has no such numbers
        accepted += validator.is_valid(json_values(tomllib.loads(GOOD.replace(before, after, 1))))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert accepted <= 16  # dates, blank text, pairs: what a schema cannot say


def test_a_plugin_that_cannot_be_loaded_is_named_by_the_schema_too() -> None:
    with pytest.raises(UsageError, match="the exporter ruin is installed but cannot be loaded"):
        plan.schema()


def test_importing_the_plan_costs_no_pydantic_and_no_yaml() -> None:
    script = "import sys, reversible.plan; sys.exit(' '.join({'pydantic', 'yaml'} & set(sys.modules)) or 0)"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
