"""Refuse what this site does not want: unsigned, too old, able to run code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.bundle.importer.errors import POLICY, USAGE, BundleError, shown
from hfaria.bundle.importer.format import BUNDLE_NAME
from hfaria.bundle.importer.signatures import (
    BAD_SIGNATURE,
    UNSIGNED,
    UNSUPPORTED,
    VALID,
    WRONG_KEY,
    Signature,
)
from hfaria.bundle.importer.trust import POLICY_FILE, load_trust
from hfaria.bundle.importer.values import Bundle, select_repos, unsafe_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hfaria.bundle.importer.bags import Bag
    from hfaria.bundle.importer.console import Console
    from hfaria.bundle.importer.options import Options


def judge_signature(
    bags: Sequence[Bag], trust: Sequence[str], console: Console, *, is_required: bool
) -> Signature:
    """Check and print who signed. Raises `BundleError` where the policy does not allow it."""
    keys, has_policy = load_trust(trust)
    is_required = is_required or has_policy
    if is_required and not keys:
        hint = "name the key with --trust; it must not come from the stick"
        raise BundleError("E-TRUST", USAGE, "--require-signature needs a key to trust", hint)
    order = (BAD_SIGNATURE, VALID, WRONG_KEY, UNSUPPORTED, UNSIGNED)
    signature = min(
        (bag.signature(keys) for bag in bags), key=lambda found: order.index(found.status)
    )
    who = f"  {signature.key}" if signature.key else ""
    if signature.status == VALID:
        who += f" ({signature.named_by})"
    elif signature.status == WRONG_KEY:
        who = f"  claims to be of{who}, which nobody here vouches for"
    console.say(f"signature {signature.status}{who}")
    if signature.status == BAD_SIGNATURE:
        hint = "the bundle was altered, or the signature is of another one; do not use it"
        raise BundleError("E-SIGNATURE", POLICY, f"the signature of {BUNDLE_NAME} is bad", hint)
    if signature.status == WRONG_KEY and keys:
        message = f"signed by {signature.key}, which is not among the trusted keys"
        raise BundleError("E-KEY", POLICY, message, "ask who signed it, by another way")
    if is_required and signature.status != VALID:
        why = "--require-signature is set" if not has_policy else f"{POLICY_FILE} demands one"
        message = f"no signature that can be checked ({signature.status}), and {why}"
        raise BundleError("E-UNSIGNED", POLICY, message, "ask for a signed bundle")
    return signature


def check_policy(bundle: Bundle, options: Options) -> None:
    """Refuse a bundle that is too old or holds what can run code, where that was asked for."""
    if options.not_before is not None and bundle.created[:10] < options.not_before:
        message = f"the bundle was made on {bundle.created[:10]}, before {options.not_before}"
        raise BundleError("E-OLD", POLICY, message, "an old bundle may bring back old models")
    unsafe = unsafe_files(select_repos(bundle, options.repos))
    if options.safe_only and unsafe:
        listed = ", ".join(shown(path)[1:-1] for path in unsafe[:5])
        message = f"{len(unsafe)} files can run code when they are loaded: {listed}"
        raise BundleError("E-UNSAFE", POLICY, message, "--safe-only refuses the whole bundle")
