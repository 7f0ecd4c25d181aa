from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.redact import MASK, Secret, redact, redact_url

TOKEN = "hf_" + "a1B2c3D4" * 4
SIGNED = (
    "https://cdn.example/repos/ab/blob?response-content-disposition=inline%3B+filename%3Dx.bin"
    "&X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIA%2Fus&X-Amz-Signature=cafe&x-amz-expires=3600"
    "&Policy=eyJ&Signature=SIG~&Key-Pair-Id=K3&Expires=1700000000&sig=azure&se=2030&token=t&x-id=Get"
)


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("swordfish")
    for text in (str(secret), repr(secret), f"{secret}", f"{secret!r}", "%s" % secret):  # noqa: UP031
        assert "swordfish" not in text
        assert MASK in text
    assert secret.reveal() == "swordfish"


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_signed_url_loses_its_right_to_read_and_keeps_the_rest() -> None:
    shown = redact_url(SIGNED)
    for leak in ("AKIA", "cafe", "eyJ", "SIG", "K3", "1700000000", "azure", "2030", "=t&"):
        assert leak not in shown
    assert shown.startswith("https://cdn.example/repos/ab/blob?response-content-disposition=inline")
    assert f"X-Amz-Signature={MASK}" in shown
    assert shown.endswith("x-id=Get")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host.example/a", "https://host.example/a"),
        ("https://token@host.example:8080/a", "https://host.example:8080/a"),
        ("https://a@b@host.example/a", "https://host.example/a"),
        ("https://host.example/a?empty=&token=", f"https://host.example/a?empty=&token={MASK}"),
        ("https://host.example/a", "https://host.example/a"),
        ("http://[::1", "<unreadable URL>"),
    ],
)
def test_what_a_url_shows(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        f"refused: Bearer {TOKEN}",
        "authorization: bearer abc.def-ghi",
        f"got {TOKEN}, not good",
        f"GET https://host.example/x?token={TOKEN}",
        "proxy http://me:swordfish@proxy.example:3128 refused",
        "proxy HTTP://me:swordfish@proxy.example:3128 refused",
        "proxy socks5h://me:swordfish@proxy.example refused",
        "see <https://u:swordfish@host.example/a>",
    ],
)
def test_a_text_loses_tokens_and_passwords(text: str) -> None:
    shown = redact(text)
    assert TOKEN not in shown
    assert "swordfish" not in shown
    assert "abc.def" not in shown


def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = "`org/name` at https://host.example/a?b=c (hf_hub is fine), and hf://gpt2@main too"
    assert redact(text) == text


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    redact(text)
    redact(f"https://{text}")
    redact_url(text)


@given(
    st.text(
        alphabet=st.characters(
            min_codepoint=33, max_codepoint=126, exclude_characters="@/?#\\\"'<>`[]"
        ),
        min_size=1,
    )
)
def test_no_userinfo_survives(password: str) -> None:
    assert redact(f"at https://user:{password}@host.example/a.") == "at https://host.example/a."
