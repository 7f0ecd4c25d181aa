"""hfaria: a resumable bulk downloader for Hugging Face repos, built on aria2.

`pull` is the Python twin of ``hfaria pull``. It is imported on first use, so that ``import
hfaria`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfaria.api import pull
    from hfaria.rules.receipt import PartialPull, Receipt

__version__ = "0.1.0"
__all__ = ["PartialPull", "Receipt", "__version__", "pull"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the module protocol of PEP 562
    if name == "pull":
        from hfaria.api import pull  # noqa: PLC0415 - the point of the lazy attribute

        return pull
    if name in {"PartialPull", "Receipt"}:
        from hfaria.rules import receipt  # noqa: PLC0415

        return getattr(receipt, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
