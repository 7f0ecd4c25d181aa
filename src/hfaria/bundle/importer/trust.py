"""Whose signature counts: keys that operator and machine name, never the stick."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hfaria.bundle.importer.errors import USAGE, BundleError
from hfaria.bundle.importer.format import SIGNATURE_NAMESPACE
from hfaria.bundle.importer.signatures import TrustedKey, from_base64, ssh_strings

if TYPE_CHECKING:
    from collections.abc import Sequence

POLICY_FILE = r"C:\ProgramData\hfaria\trust" if os.name == "nt" else "/etc/hfaria/trust"


def parse_trust(text: str, named_by: str) -> list[TrustedKey]:
    """Read keys: lines of an allowed_signers file or *.pub of OpenSSH, or a minisign public key.

    A line that restricts its key in a way that is not checked here vouches for nothing.
    """
    keys = []
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith(("#", "untrusted comment:")):
            continue
        if "ssh-ed25519" in words[:-1]:
            at = words.index("ssh-ed25519")
            restrictions = [word for word in words[1:at] if _is_restriction(word)]
            parts = ssh_strings(from_base64(words[at + 1]))
            if not restrictions and len(parts) == 2 and len(parts[1]) == 32:
                keys.append(TrustedKey(parts[1], b"", named_by))
            continue
        blob = from_base64(words[0])
        if len(words) == 1 and len(blob) == 42 and blob[:2] == b"Ed":
            keys.append(TrustedKey(blob[10:], blob[2:10], named_by))
    return keys


def _is_restriction(word: str) -> bool:
    name, _, value = word.partition("=")
    return name.lower() != "namespaces" or SIGNATURE_NAMESPACE not in value.strip('"').split(",")


def load_trust(
    given: Sequence[str], policy_file: str = POLICY_FILE
) -> tuple[list[TrustedKey], bool]:
    """Return the keys that the operator and this machine's policy name, and whether one must sign.

    A policy file makes a signature mandatory.
    """
    keys = []
    has_policy = os.path.lexists(policy_file)
    for text in [*given, *([policy_file] if has_policy else [])]:
        content, name = text, "--trust"
        if not text.startswith(("ssh-", "RW")) and " ssh-" not in text:
            name = os.path.basename(text)
            try:
                with open(text, encoding="utf-8", errors="replace") as file:
                    content = file.read(1 << 20)
            except OSError as exc:
                message = f"the key file {text} can't be read: {exc.strerror}"
                raise BundleError("E-TRUST", USAGE, message) from exc
        try:
            found = parse_trust(content, name)
        except (ValueError, IndexError):
            found = []
        if not found:
            message = f"{name} holds no ssh-ed25519 or minisign public key that can be used"
            raise BundleError("E-TRUST", USAGE, message)
        keys += found
    return keys, has_policy
