"""Sign bundle.json with the programs that people have their keys in: ssh-keygen and minisign."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from pathlib import Path

from hfaria.bundle.importer.format import BUNDLE_NAME, SIGNATURE_NAMESPACE
from hfaria.bundle.ledger import Signature
from hfaria.errors import SigningFailed

SSH_NAME = f"{BUNDLE_NAME}.sig"
MINISIGN_NAME = f"{BUNDLE_NAME}.minisig"


def sign_with_ssh(text: bytes, key: Path) -> Signature:
    """Sign with an SSH key; the public half of a key that an agent holds will do."""
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f", str(key)]
    return Signature(SSH_NAME, _sign(text, command, key, SSH_NAME))


def is_checked_anywhere(signature: Signature) -> bool:
    """Tell whether the importer can check it with Python alone: of SSH keys only ed25519."""
    if signature.name != SSH_NAME:
        return True
    lines = signature.content.splitlines()
    blob = base64.b64decode(b"".join(lines[1:-1]))  # between BEGIN and END; see PROTOCOL.sshsig
    return b"\0\0\0\x0bssh-ed25519" in blob


def sign_with_minisign(text: bytes, key: Path, *, comment: str) -> Signature:
    """Sign with a minisign key; ``comment`` is signed along."""
    command = ["minisign", "-S", "-s", str(key), "-t", comment, "-x", MINISIGN_NAME, "-m"]
    return Signature(MINISIGN_NAME, _sign(text, command, key, MINISIGN_NAME))


def _sign(text: bytes, command: list[str], key: Path, name: str) -> bytes:
    program = command[0]
    if shutil.which(program) is None:
        package = {"ssh-keygen": "openssh-client"}.get(program, program)
        raise SigningFailed(
            f"`{program}` is not installed", hint=f"on Debian: apt install {package}"
        )
    if not key.is_file():
        raise SigningFailed(f"the key `{key}` does not exist")
    with tempfile.TemporaryDirectory(prefix="hfaria-") as folder:
        (Path(folder) / BUNDLE_NAME).write_bytes(text)
        # stdin and stderr stay the user's: it may ask for a passphrase.
        ended = subprocess.run(
            [*_absolute(command, key), BUNDLE_NAME], cwd=folder, check=False, stdout=subprocess.PIPE
        )
        signature = Path(folder) / name
        if ended.returncode or not signature.is_file():
            raise SigningFailed(
                f"`{program}` did not sign with `{key}` (it ended with {ended.returncode})",
                hint="nothing was written to a stick; what the program said stands above",
            )
        return signature.read_bytes()


def _absolute(command: list[str], key: Path) -> list[str]:
    return [str(key.absolute()) if word == str(key) else word for word in command]
