"""Check signatures of OpenSSH and minisign."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from hfaria.bundle.importer.ed25519 import ed25519_is_valid
from hfaria.bundle.importer.errors import shown
from hfaria.bundle.importer.format import SIGNATURE_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

VALID = "VALID"
UNSIGNED = "UNSIGNED"
BAD_SIGNATURE = "BAD_SIGNATURE"
WRONG_KEY = "WRONG_KEY"
UNSUPPORTED = "UNSUPPORTED"
SIGNATURE_MOST_BYTES = 1 << 16


class Signature(NamedTuple):
    """What became of a signature: `key` names who made it, or says that he did."""

    status: str
    key: str
    named_by: str


class TrustedKey(NamedTuple):
    """A key that the operator vouches for. Never one that was found on the stick."""

    public: bytes
    minisign_id: bytes
    named_by: str


def ssh_strings(blob: bytes) -> list[bytes]:
    """Take apart what is made of strings with a length before each (RFC 4251, section 5)."""
    found = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            raise ValueError("cut off")
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found


def ssh_fingerprint(key_blob: bytes) -> str:
    """Return a key's name as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(key_blob).digest()).decode("ascii")
    return f"SHA256:{digest.rstrip('=')}"


def _ssh_blob(public: bytes) -> bytes:
    return b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + public


def from_base64(text: str) -> bytes:
    """Return what a text stands for; nothing if it is not base64."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return b""


def check_ssh(message: bytes, armored: bytes, keys: Sequence[TrustedKey]) -> Signature:
    """Check an OpenSSH signature (PROTOCOL.sshsig of OpenSSH) of namespace `hfaria-bundle`."""
    body = re.sub(rb"-----(BEGIN|END) SSH SIGNATURE-----|\s", b"", armored)
    blob = from_base64(body.decode("ascii", "replace"))
    try:
        key_blob, namespace, reserved, algorithm, wrapped = ssh_strings(blob[10:])
        kind, public = ssh_strings(key_blob)[:2]
        signature_kind, signature = ssh_strings(wrapped)[:2]
    except ValueError:
        return Signature(BAD_SIGNATURE, "", "")
    name = ssh_fingerprint(key_blob)
    if blob[:10] != b"SSHSIG\0\0\0\1" or namespace != SIGNATURE_NAMESPACE.encode("ascii"):
        return Signature(BAD_SIGNATURE, name, "")
    if kind != b"ssh-ed25519" or signature_kind != kind or algorithm not in (b"sha256", b"sha512"):
        return Signature(UNSUPPORTED, f"{shown(kind.decode('ascii', 'replace'))} {name}", "")
    digest = hashlib.new(algorithm.decode("ascii"), message).digest()
    signed = b"SSHSIG" + b"".join(
        len(part).to_bytes(4, "big") + part for part in (namespace, reserved, algorithm, digest)
    )
    if key_blob != _ssh_blob(public) or not ed25519_is_valid(public, signed, signature):
        return Signature(BAD_SIGNATURE, name, "")
    named_by = next((key.named_by for key in keys if key.public == public), None)
    return Signature(VALID if named_by else WRONG_KEY, f"ssh-ed25519 {name}", named_by or "")


def check_minisign(message: bytes, text: bytes, keys: Sequence[TrustedKey]) -> Signature:
    """Check a minisign signature, and its trusted comment; only a trusted key can check it."""
    lines = text.decode("utf-8", "replace").splitlines()
    if len(lines) < 4 or not lines[2].startswith("trusted comment: "):
        return Signature(BAD_SIGNATURE, "", "")
    blob, whole = from_base64(lines[1]), from_base64(lines[3])
    kind, key_id, signature = blob[:2], blob[2:10], blob[10:]
    name = f"minisign {key_id[::-1].hex().upper()}"
    if kind not in (b"ED", b"Ed"):
        return Signature(UNSUPPORTED, name, "")
    key = next((key for key in keys if key.minisign_id == key_id), None)
    if key is None:
        return Signature(WRONG_KEY, name, "")
    signed = hashlib.blake2b(message).digest() if kind == b"ED" else message
    comment = lines[2][len("trusted comment: ") :].encode("utf-8")
    checks = ((signed, signature), (signature + comment, whole))
    is_valid = all(ed25519_is_valid(key.public, text, made) for text, made in checks)
    return Signature(VALID if is_valid else BAD_SIGNATURE, name, key.named_by if is_valid else "")
