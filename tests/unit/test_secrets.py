"""A secret is a reference: it is read at the last moment, and shows nowhere."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from reversible import secrets
from reversible.errors import UsageError
from reversible.secrets import Secret, Text

VALUE = "correct horse battery staple"


class Login(BaseModel):
    password: Secret
    url: Text = Text("")


def login() -> Login:
    text = '{"password": "${SHOP_PASSWORD}", "url": "postgresql://reader:${SHOP_PASSWORD}@db/shop"}'
    return Login.model_validate_json(text, strict=True, context={"at": "source.shop"})


def test_a_reference_is_revealed_from_the_environment_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    found = login()
    monkeypatch.setenv("SHOP_PASSWORD", VALUE)

    assert found.password.reveal() == VALUE
    assert found.url.reveal() == f"postgresql://reader:{VALUE}@db/shop"
    assert found.password.reveal({"SHOP_PASSWORD": "other"}) == "other"


def test_nothing_that_prints_or_stores_it_holds_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", VALUE)
    found = login()
    found.password.reveal()
    found.url.reveal()

    shown = [repr(found), str(found), repr(found.password), found.url, found.model_dump_json(), str(found.model_dump())]
    shown += [pickle.dumps(found).decode("latin-1"), repr(copy.deepcopy(found)), repr(vars(found))]
    assert not any(VALUE in text for text in shown)
    assert all("${SHOP_PASSWORD}" in text for text in shown if not text.startswith("\x80"))
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own bytes


@pytest.mark.parametrize(("environ", "said"), [({}, "is not set"), ({"SHOP_PASSWORD": ""}, "is empty")])
def test_a_missing_variable_is_named_with_its_key_and_the_command_that_sets_it(
    environ: dict[str, str], said: str
) -> None:
    found = login()

    for reveal, key in ((found.password.reveal, "password"), (found.url.reveal, "url")):
        with pytest.raises(UsageError) as raised:
            reveal(environ)
        assert raised.value.message == f"source.shop.{key}: the environment variable SHOP_PASSWORD {said}"
        assert raised.value.hint == "export SHOP_PASSWORD=..."


@pytest.mark.parametrize(
    "literal", [VALUE, "", "$SHOP", "${SHOP", "${}", "${1A}", "${A}${B}", "x${A}", "${A} ", "${A}\n", "${É}"]
)
def test_a_secret_takes_one_reference_and_nothing_else(literal: str) -> None:
    with pytest.raises(ValueError, match="not shown") as raised:
        Secret(literal)

    assert not literal or literal not in str(raised.value)


def test_a_field_of_type_secret_refuses_what_is_no_text() -> None:
    for literal in (12345, ["${A}"], {"env": "A"}, None, True):
        with pytest.raises(ValidationError, match="a literal secret is not allowed"):
            Login.model_validate({"password": literal})


def test_a_secret_cannot_be_changed_and_compares_by_its_variable() -> None:
    secret = Secret("${A}")

    with pytest.raises(AttributeError):
        secret.name = "B"
    assert secret == Secret("${A}", key="elsewhere")
    assert len({secret, Secret("${A}"), Secret("${B}")}) == 2
    assert secret != "${A}"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:pw@h/db",
        "postgresql://u:p@ss@h/db",
        "postgresql://:pw@h",
        "see https://u:pw@h/x for more",
        "s3://${KEY}:literal@h",
        "https://u:${A}b@h",
        "postgresql://u:pw/with/slash@h/db",
        "postgresql://u:pw?with#marks@h/db",
        "host=db password=hunter2",
        "host=db password = 'hunter2'",
        "postgresql://h/db?user=u&password=hunter2",
        "postgresql://h/db?sslpassword=x&password=${A}",
        "https://h/?X-Amz-Security-Token=abc",
        "https://h/?access_token=abc",
        "https://h/x?X-Amz-Signature=abc",
        "https://h/x?sp=r&sig=abc",
        "AccountKey=abc;EndpointSuffix=core",
        "password=${A}b",
    ],
)
def test_a_password_in_clear_is_recognised(text: str) -> None:
    assert secrets.holds_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://reader@h/db",
        "postgresql://reader:${A}@h/db",
        "postgresql://reader:@h/db",
        "postgresql://${USER}:${A}@[::1]:5432/db?sslmode=require",
        "host=db password=${A} user=x",
        "postgresql://h/db?password=${A}&user=x",
        "http://127.0.0.1:8333",
        "https://h:443/path/user@example.org",
        "s3://bucket/prefix",
        "mail to: exit@example.org",
        "the password is kept by the notary",
        "design=abc, tokens=3",
        "",
    ],
)
def test_what_holds_no_password_is_left_alone(text: str) -> None:
    assert not secrets.holds_secret(text)


def test_a_value_is_never_searched_for_references_again() -> None:
    assert secrets.resolve("${A}-${B}", {"A": "${B}", "B": "b"}) == "${B}-b"


@given(st.text(), st.dictionaries(st.from_regex(r"[A-Z_]{1,3}", fullmatch=True), st.text(min_size=1)))
def test_resolving_changes_references_and_nothing_else(text: str, environ: dict[str, str]) -> None:
    names = secrets.references(text)

    if set(names) <= set(environ):
        resolved = secrets.resolve(text, environ)
        assert names or resolved == text
    else:
        with pytest.raises(UsageError):
            secrets.resolve(text, environ)


@pytest.mark.parametrize(
    ("text", "broken"),
    [("${A}", False), ("cost: 5 $", False), ("$A", False), ("${A", True), ("${A-B}", True), ("${}${A}", True)],
)
def test_a_reference_that_is_none_is_noticed(text: str, broken: bool) -> None:
    assert secrets.broken_reference(text) is broken
