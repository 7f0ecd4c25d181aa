"""Where the token comes from, in order of precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfaria.redact import Secret

if TYPE_CHECKING:
    from hfaria.hub.client import TokenSource


def token_source(given: Secret | None, *, may_use_stored: bool) -> TokenSource:
    """Return where a client gets the token: the one that was given, else huggingface_hub's.

    huggingface_hub looks at HF_TOKEN, then at what `hf auth login` stored. It is asked only when a
    request may carry a token at all, since the look itself may refresh one.
    """

    def find() -> Secret | None:
        if given is not None:
            return given
        if not may_use_stored:
            return None
        from huggingface_hub import get_token  # noqa: PLC0415 - slow, and not always needed

        value = get_token()
        return Secret(value) if value else None

    return find
