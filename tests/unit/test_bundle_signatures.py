"""Signatures are checked by the standard library alone: real ones of OpenSSH, and minisign's."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hfaria.bundle.importer.ed25519 import ed25519_is_valid
from hfaria.bundle.importer.errors import BundleError
from hfaria.bundle.importer.signatures import TrustedKey, check_minisign, check_ssh
from hfaria.bundle.importer.trust import load_trust, parse_trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MESSAGE = b'{"format":"hfaria-bundle/1"}'

# RFC 8032, section 7.1, tests 1 to 3: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_hold(public: str, message: str, signature: str) -> None:
    key, text, made = map(bytes.fromhex, (public, message, signature))
    assert ed25519_is_valid(key, text, made)
    assert not ed25519_is_valid(key, text + b"x", made)
    for at in (0, 31, 32, 63):
        wrong = bytearray(made)
        wrong[at] ^= 1
        assert not ed25519_is_valid(key, text, bytes(wrong))


def test_malformed_keys_and_signatures_are_invalid() -> None:
    key, _, made = (bytes.fromhex(text) for text in RFC_8032[0])
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(made[32:], "little") + order  # malleable: RFC 8032 wants S < L
    assert not ed25519_is_valid(key, b"", made[:32] + scalar.to_bytes(32, "little"))
    for public in (b"", b"\xff" * 32, (2**255 - 19).to_bytes(32, "little"), b"\x02" + b"\0" * 31):
        assert not ed25519_is_valid(public, b"", made)
    assert not ed25519_is_valid(key, b"", made[:63])


# --- OpenSSH -------------------------------------------------------------------------------------


@pytest.fixture
def ssh(tmp_path: Path) -> Callable[..., tuple[str, bytes]]:
    """Return what makes a key and signs with it: its public line, and the signature."""

    def sign(
        message: bytes = MESSAGE, *, namespace: str = "hfaria-bundle", kind: str = "ed25519"
    ) -> tuple[str, bytes]:
        key = tmp_path / f"key-{kind}"
        if not key.exists():
            make = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "me", "-f", str(key)]
            subprocess.run(make, check=True)
        (tmp_path / "message").write_bytes(message)
        (tmp_path / "message.sig").unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)]
        subprocess.run([*command, str(tmp_path / "message")], check=True, capture_output=True)
        public = key.with_suffix(".pub").read_text().strip()
        return public, (tmp_path / "message.sig").read_bytes()

    return sign


def test_a_signature_of_ssh_keygen_is_valid(ssh: Callable[..., tuple[str, bytes]]) -> None:
    public, made = ssh()
    keys = parse_trust(public, "approved.pub")
    signature = check_ssh(MESSAGE, made, keys)
    assert (signature.status, signature.named_by) == ("VALID", "approved.pub")
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=public, capture_output=True, text=True, check=True
    )
    assert signature.key.split()[1] == listed.stdout.split()[1]


def test_it_holds_for_these_bytes_and_this_namespace_only(
    ssh: Callable[..., tuple[str, bytes]],
) -> None:
    public, made = ssh()
    keys = parse_trust(public, "approved.pub")
    assert check_ssh(MESSAGE + b" ", made, keys).status == "BAD_SIGNATURE"
    _, other = ssh(namespace="file")
    assert check_ssh(MESSAGE, other, keys).status == "BAD_SIGNATURE"


def test_a_key_that_nobody_vouches_for_is_only_claimed(
    ssh: Callable[..., tuple[str, bytes]],
) -> None:
    public, made = ssh()
    assert check_ssh(MESSAGE, made, []).status == "WRONG_KEY"
    # Not even a bad signature by an unknown key may look like that of an unknown key.
    assert check_ssh(b"x", made, []).status == "BAD_SIGNATURE"
    assert public


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_keys_are_unsupported(
    ssh: Callable[..., tuple[str, bytes]], kind: str
) -> None:
    _, made = ssh(kind=kind)
    signature = check_ssh(MESSAGE, made, [])
    assert signature.status == "UNSUPPORTED"
    assert signature.key.isprintable()


@pytest.mark.parametrize("cut", [0, 1, 30, 60, 100, 150])
def test_rubbish_is_a_bad_signature(ssh: Callable[..., tuple[str, bytes]], cut: int) -> None:
    public, made = ssh()
    body = base64.b64decode(b"".join(made.splitlines()[1:-1]))
    for rubbish in (made[:cut], base64.b64encode(body[:cut]), bytes(cut), b"\xff" * cut):
        status = check_ssh(MESSAGE, rubbish, parse_trust(public, "k")).status
        assert status == "BAD_SIGNATURE"


def test_lines_of_allowed_signers_count_unless_they_restrict_otherwise(
    ssh: Callable[..., tuple[str, bytes]],
) -> None:
    public, _ = ssh()
    kind, blob, _ = public.split()
    good = [
        f"me@site {kind} {blob}",
        f'me@site namespaces="file,hfaria-bundle" {kind} {blob} comment',
        f"# a comment\n\n{public}",
    ]
    bad = [
        f'me@site namespaces="file" {kind} {blob}',
        f"me@site cert-authority {kind} {blob}",
        f'me@site valid-before="20200101" {kind} {blob}',
        f"{kind} AAAA",
        f"{kind}",
    ]
    assert [len(parse_trust(line, "k")) for line in good] == [1, 1, 1]
    assert [line for line in bad if _keys(line)] == []


def _keys(text: str) -> list[TrustedKey]:
    try:
        return parse_trust(text, "k")
    except (ValueError, IndexError):
        return []


# --- minisign ------------------------------------------------------------------------------------


def minisign(
    private: Ed25519PrivateKey,
    message: bytes,
    *,
    kind: bytes = b"ED",
    comment: str = "timestamp:1\tfile:bundle.json",
) -> tuple[str, bytes]:
    """Return public key and signature as minisign's page describes them."""
    public = private.public_key().public_bytes_raw()
    key_id = b"\x01\x02\x03\x04\x05\x06\x07\x08"
    signed = hashlib.blake2b(message).digest() if kind == b"ED" else message
    made = private.sign(signed)
    whole = private.sign(made + comment.encode())
    lines = (
        "untrusted comment: signature",
        base64.b64encode(kind + key_id + made).decode(),
        f"trusted comment: {comment}",
        base64.b64encode(whole).decode(),
        "",
    )
    return base64.b64encode(b"Ed" + key_id + public).decode(), "\n".join(lines).encode()


@pytest.mark.parametrize("kind", [b"ED", b"Ed"])
def test_a_minisign_signature_is_valid_with_its_trusted_comment(kind: bytes) -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    public, made = minisign(private, MESSAGE, kind=kind)
    keys = parse_trust(f"untrusted comment: minisign public key\n{public}\n", "minisign.pub")
    assert parse_trust(public, "minisign.pub") == keys
    signature = check_minisign(MESSAGE, made, keys)
    assert (signature.status, signature.key) == ("VALID", "minisign 0807060504030201")
    assert check_minisign(MESSAGE + b"x", made, keys).status == "BAD_SIGNATURE"
    forged = made.replace(b"timestamp:1", b"timestamp:2")
    assert check_minisign(MESSAGE, forged, keys).status == "BAD_SIGNATURE"
    assert check_minisign(MESSAGE, made, []).status == "WRONG_KEY"
    assert check_minisign(MESSAGE, b"\n".join(made.split(b"\n")[:2]), keys).status == (
        "BAD_SIGNATURE"
    )
    other = minisign(private, MESSAGE, kind=b"XX")[1]
    assert check_minisign(MESSAGE, other, keys).status == "UNSUPPORTED"


# --- the operator's keys -------------------------------------------------------------------------


def test_keys_come_from_files_from_words_and_from_the_machines_policy(
    tmp_path: Path, ssh: Callable[..., tuple[str, bytes]]
) -> None:
    public, _ = ssh()
    file = tmp_path / "approved.pub"
    file.write_text(public)
    absent = str(tmp_path / "no-policy")
    assert load_trust([public], absent) == ([*parse_trust(public, "--trust")], False)
    keys, has_policy = load_trust([str(file)], absent)
    assert ([key.named_by for key in keys], has_policy) == (["approved.pub"], False)
    keys, has_policy = load_trust([], str(file))
    assert (len(keys), has_policy) == (1, True)


@pytest.mark.parametrize("content", ["", "ssh-rsa AAAA", "rubbish", "ssh-ed25519", "\0\xff"])
def test_a_key_file_without_a_key_is_no_key_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    for given in (str(file), str(tmp_path / "absent")):
        with pytest.raises(BundleError) as caught:
            load_trust([given], str(tmp_path / "no-policy"))
        assert (caught.value.code, caught.value.exit_code) == ("E-TRUST", 2)
