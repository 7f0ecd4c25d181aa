"""hfaria: a resumable bulk downloader for Hugging Face repos, built on aria2.

`pull` is the Python twin of ``hfaria pull``. It is imported on first use, so that ``import
hfaria`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfaria.api import pull
    from hfaria.rules.receipt import Receipt

__version__ = "0.1.0"
__all__ = ["Receipt", "__version__", "pull"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the module protocol of PEP 562
    if name == "pull":
        from hfaria.api import pull  # noqa: PLC0415 - the point of the lazy attribute

        return pull
    if name == "Receipt":
        from hfaria.rules.receipt import Receipt  # noqa: PLC0415

        return Receipt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
