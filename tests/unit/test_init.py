"""`init` writes a plan that can be read, in both languages, never over another; `schema` says what it may hold."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import fake_exporter
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reversible import plan, registry
from reversible.errors import UsageError
from reversible.plan import template
from reversible.plan.exit_plan import json_values

LANGUAGES = ("fr", "en")
PUBLISHED = Path(__file__).parents[2] / "docs/exit-plan.schema.json"


def reversible(*argv: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reversible", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_without_a_terminal_the_template_is_written_and_can_be_read(tmp_path: Path, lang: str) -> None:
    done = reversible("init", "plan.toml", "--lang", lang, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "reversible check plan.toml" in done.stderr
    found = plan.load(tmp_path / "plan.toml")
    assert set(found.settings) == set(registry.exporter_kinds())
    assert found.profiles == ("baseline",)
    assert found.languages[0] == lang
    assert len(found.missing_exit_fields()) == 8  # an example is no plan: nothing counts as written


def test_it_says_which_variables_the_plan_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_exporter.install(monkeypatch, ruin=False)
    text = template.write(template.first_answers("en"), lang="en", plan="exit-plan.toml")

    assert template.references(text) == ("FILEBOX_PASSWORD",)
    assert 'url = "filebox://reader@box.example/"' in text
    assert '# password = ""' in text  # not required by the careless plugin


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_examples_in_the_comments_can_be_read_too(
    tmp_path: Path, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_exporter.install(monkeypatch, ruin=False)
    text = template.write(template.first_answers(lang), lang=lang, plan="exit-plan.toml")
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        lines.append(bare if re.match(r"\[|[\w.\"]+ = ", bare) else "")
    file = tmp_path / "plan.toml"
    # A plugin that keeps its password as plain text takes neither the password nor a reference.
    file.write_text("\n".join(lines).replace('password = ""', ""), encoding="utf-8")

    found = plan.load(file)

    assert found.missing_exit_fields() == ()
    assert found.describe_destination()["country"] == "FR"
    assert found.overrides
    assert found.facts
    assert found.flags
    assert found.written.document
    assert found.written.source["filebox"].exclude


def test_both_languages_say_the_same_keys() -> None:
    keys = []
    for lang in LANGUAGES:
        text = template.write(template.first_answers(lang), lang=lang, plan="exit-plan.toml")
        keys.append([line.split("=")[0].lstrip("# ") for line in text.splitlines() if " = " in line])

    assert keys[0] == keys[1]


def test_a_plan_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("mine")

    refused = reversible("init", file)

    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        f"error: {file} is there already",
        f"  try: reversible init {file} --force",
    ]
    assert file.read_text() == "mine"
    assert reversible("init", file, "--force").returncode == 0
    assert plan.load(file).profiles == ("baseline",)
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    cases = {
        tmp_path: (f"{tmp_path} is a directory", f"reversible init {tmp_path}/exit-plan.toml"),
        tmp_path / "gone/plan.toml": (f"{tmp_path}/gone: there is no such directory", f"mkdir -p {tmp_path}/gone"),
        Path("/proc/plan.toml"): ("/proc: there is no such directory", "mkdir -p /proc"),
        tmp_path / ("x" * 300): ("cannot be written: File name too long", f"ls -ld {tmp_path}"),
    }

    for place, (said, hint) in cases.items():
        done = reversible("init", place)
        assert done.returncode == 2
        assert said in done.stderr
        assert f"try: {hint}" in done.stderr
        assert "Traceback" not in done.stderr


def test_on_a_terminal_it_asks_and_writes_the_answers(tmp_path: Path) -> None:
    answers = ["Contrat « n° 7 »", 'Alpes "SAS" \\', "https://u:hunter2@x", "Nuage", "s4", "s3", "baseline, dora"]

    status, shown = on_a_terminal(["init", str(tmp_path / "plan.toml"), "--lang", "fr"], answers)

    assert status == 0, shown
    found = plan.load(tmp_path / "plan.toml")
    assert found.written.contract.title == "Contrat « n° 7 »"
    assert found.written.contract.customer == 'Alpes "SAS" \\'
    assert found.written.contract.provider == "Nuage"
    assert list(found.settings) == ["s3"]
    assert found.profiles == ("baseline", "dora")
    assert "sans secret en clair" in shown
    assert "'s4' n'en fait pas partie" in shown


def on_a_terminal(argv: list[str], answers: list[str]) -> tuple[int, str]:
    """Run a command on a real terminal and type one answer at each question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"PYTHONUTF8": "1", "COLUMNS": "200"}
        os.execv(sys.executable, [sys.executable, "-m", "reversible", *argv])  # noqa: S606
    shown, asked = "", 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 1)
        if not ready:
            continue
        try:
            more = os.read(terminal, 65_536).decode(errors="replace")
        except OSError:  # the other side is closed
            break
        shown += more
        if shown.rstrip(" ").endswith("]:") and asked < len(answers):
            os.write(terminal, f"{answers[asked]}\n".encode())
            asked += 1
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


@given(st.text().filter(str.strip))
def test_any_text_is_written_as_toml_reads_it(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character: no file can hold it
        return
    assert tomllib.loads(f"x = {template.toml(text)}") == {"x": text}


@pytest.mark.parametrize("value", [True, 3, 0.5, [], ["a", 1], {"a b": {"c": [True]}}])
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    assert tomllib.loads(f"x = {template.toml(value)}") == {"x": value}


def test_a_reference_in_a_key_that_takes_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_exporter.install(monkeypatch, ruin=False)
    text = template.write(template.first_answers("en"), lang="en", plan="p").replace(
        'kind = "filebox"', 'kind = "filebox"\nshelf = "${S}"\nlogins.a.user = "x${A}"'
    )
    (tmp_path / "plan.toml").write_text(text)

    with pytest.raises(UsageError) as raised:
        plan.load(tmp_path / "plan.toml")
    assert "source.filebox.shelf: found a reference, which this key does not take" in raised.value.message
    assert "source.filebox.logins.a.user: found a reference, which this key does not take" in raised.value.message


# --- schema --------------------------------------------------------------------------------------------------------


def test_the_published_schema_is_the_one_that_the_command_prints() -> None:
    done = reversible("schema")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(PUBLISHED.read_text(encoding="utf-8")), (
        f"stale: reversible schema > docs/{PUBLISHED.name}"
    )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_template_holds_against_the_published_schema(lang: str) -> None:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    text = template.write(template.first_answers(lang), lang=lang, plan="exit-plan.toml")

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json_values(tomllib.loads(text)), schema, jsonschema.Draft202012Validator)
