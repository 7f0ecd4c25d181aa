"""What is done with sticks on the machine that they come to: by the code that travels on them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.console import Console, write_document
from hfaria.bundle.importer.errors import BundleError
from hfaria.errors import (
    BundleDamaged,
    BundleIncomplete,
    BundleRefused,
    ExitCode,
    HfariaError,
    MalformedBundle,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hfaria.bundle.importer.options import Options
    from hfaria.settings import Settings

_KINDS: dict[int, type[HfariaError]] = {
    ExitCode.USAGE: MalformedBundle,
    ExitCode.INCOMPLETE: BundleIncomplete,
    ExitCode.INTEGRITY: BundleDamaged,
    ExitCode.DESTINATION: StoreError,
    ExitCode.POLICY: BundleRefused,
}


def translated(error: BundleError) -> HfariaError:
    """Return the importer's error as one of hfaria's, under the same exit code."""
    return _KINDS[error.exit_code](f"{error.code} {error.message}", hint=error.hint)


@contextmanager
def bundle_errors() -> Iterator[None]:
    """Translate what the importer raises."""
    try:
        yield
    except BundleError as exc:
        raise translated(exc) from exc


def inspect_sticks(
    paths: Sequence[Path], *, trust: Sequence[str], with_files: bool, is_quiet: bool
) -> dict[str, Any]:
    """Show what sticks say that they hold, and return that as a document."""
    from hfaria.bundle.importer.inspecting import inspect_bundle  # noqa: PLC0415 - slow

    with bundle_errors():
        console = Console(is_quiet=is_quiet)
        return inspect_bundle(_texts(paths), trust, console, with_files=with_files)


def verify_sticks(
    paths: Sequence[Path],
    *,
    trust: Sequence[str],
    require_signature: bool,
    is_quick: bool,
    needs: Path | None,
    is_quiet: bool,
) -> tuple[dict[str, Any], HfariaError | None]:
    """Read all that sticks hold; return what was found, and the error if not all is well."""
    from hfaria.bundle.importer.verifying import verify_bundle  # noqa: PLC0415 - slow

    with bundle_errors():
        document, error = verify_bundle(
            _texts(paths),
            trust,
            Console(is_quiet=is_quiet),
            is_required=require_signature,
            is_quick=is_quick,
            needs=None if needs is None else str(needs),
        )
    return document, None if error is None else translated(error)


def import_sticks(
    paths: Sequence[Path],
    options: Options,
    *,
    settings: Settings,
    is_partial: bool,
    with_load_check: bool,
    is_quiet: bool,
) -> tuple[dict[str, Any], HfariaError | None]:
    """Bring sticks into the cache; return what became ready, and the error if not all did."""
    from hfaria.bundle.importer.importing import import_bundle  # noqa: PLC0415 - slow
    from hfaria.bundle.importer.load_check import load_check  # noqa: PLC0415 - slow

    console = Console(is_quiet=is_quiet, show_progress=settings.show_progress)
    with bundle_errors():
        document, error = import_bundle(_texts(paths), options, console, is_partial=is_partial)
        if with_load_check and error is None:
            error = load_check(document, options.cache, settings.engine_environ, console)
    return document, None if error is None else translated(error)


def write_inventory(output: Path, *, cache_dir: Path, hashes_only: bool) -> None:
    """Write down what a cache has, for the next bundle."""
    from hfaria.bundle.importer.inventory import inventory_document  # noqa: PLC0415 - slow

    with bundle_errors():
        content = inventory_document(str(cache_dir), hashes_only=hashes_only)
        write_document(str(output), content, Console())


def _texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]
