"""Load settings even if some of them are wrong, for whoever looks for what is wrong."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from hfaria.errors import UsageError
from hfaria.settings import environment, load_settings

if TYPE_CHECKING:
    from hfaria.settings import Overrides, Settings


def load_settings_anyway(overrides: Overrides) -> tuple[Settings, UsageError | None]:
    """Load settings without the config file or variables that are at fault; return the fault, too.

    What ``overrides`` say is never left out, nor whom to ask: a fault in these is raised.
    """
    environ = environment()
    try:
        return load_settings(overrides, environ), None
    except UsageError as exc:
        fault = exc
    suspects = [name for name in sorted(environ) if _may_be_left_out(name)]
    for left_out in ({"HFARIA_CONFIG"}, *({name} for name in suspects), set(suspects)):
        kept = {name: value for name, value in environ.items() if name not in left_out}
        if "HFARIA_CONFIG" in left_out or len(left_out) > 1:
            kept["HFARIA_CONFIG"] = os.devnull
        with suppress(UsageError):
            return load_settings(overrides, kept), fault
    raise fault


def _may_be_left_out(name: str) -> bool:
    is_ours = name.startswith("HFARIA_") and name not in {"HFARIA_ORIGIN", "HFARIA_ENDPOINTS"}
    return is_ours or name.upper().endswith(("_PROXY", "_BUNDLE", "_CERT_FILE"))
