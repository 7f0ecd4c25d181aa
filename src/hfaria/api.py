"""The Python API: `hfaria.pull`, the twin of ``hfaria pull``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hfaria.redact import Secret
from hfaria.report.reporter import SilentReporter, make_reporter
from hfaria.rules.selection import make_selection
from hfaria.rules.spec import parse_reference, parse_repo_type
from hfaria.settings import Overrides, load_settings
from hfaria.workflows.pull import PullRequest
from hfaria.workflows.pull import pull as run_pull

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from hfaria.rules.receipt import Receipt


def pull(
    reference: str,
    *,
    filenames: Sequence[str] = (),
    repo_type: str | None = None,
    revision: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    variant: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    endpoint: str | Sequence[str] | None = None,
    use_origin: bool | None = None,
    stale: str | None = None,
    trusted_endpoints: Sequence[str] = (),
    token: str | None = None,
    connections: int | None = None,
    jobs: int | None = None,
    reserve: str | int | None = None,
    patience_seconds: float | None = None,
    limit_rate: str | int | None = None,
    show_progress: bool = False,
) -> Receipt:
    """Fetch a repo into a Hugging Face cache, or into ``local_dir``, verified; resume if begun.

    ``reference`` is ``namespace/name`` or an ``hf://`` reference. What is not given comes from the
    environment, the config file, or the defaults, as on the command line. ``reserve`` is bytes or
    a text like ``"10GB"``, ``limit_rate`` bytes a second or a text like ``"2M@08:00-19:00"``. The
    token goes to the origin and to ``trusted_endpoints`` only.

    Returns the receipt; its ``path`` is the snapshot's folder. Raises `hfaria.errors.HfariaError`:
    `PartialPull` with a receipt when some files could not be had, other classes for the rest. Call
    it again to resume.
    """
    spec, names = parse_reference(
        reference,
        repo_type=None if repo_type is None else parse_repo_type(repo_type),
        revision=revision,
        filenames=tuple(filenames),
    )
    selection, warning = make_selection(
        names=names, include=tuple(include), exclude=tuple(exclude), variant=variant
    )
    settings = load_settings(
        Overrides(
            cache_dir=None if cache_dir is None else Path(cache_dir),
            endpoints=(endpoint,) if isinstance(endpoint, str) else tuple(endpoint or ()),
            use_origin=use_origin,
            stale=stale,
            trusted_endpoints=tuple(trusted_endpoints),
            connections=connections,
            jobs=jobs,
            reserve=reserve,
            patience=patience_seconds,
            limit_rate=limit_rate,
        )
    )
    reporter = (
        make_reporter(sys.stderr, is_quiet=False, show_progress=True)
        if show_progress
        else SilentReporter()
    )
    if warning is not None:
        reporter.warn(warning)
    try:
        return run_pull(
            PullRequest(
                spec,
                selection,
                local_dir=None if local_dir is None else Path(local_dir),
                refetch=force_download,
                token=None if token is None else Secret(token),
            ),
            settings=settings,
            reporter=reporter,
        )
    finally:
        reporter.close()
