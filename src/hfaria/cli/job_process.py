"""What a job's process runs: the command that is written in its folder, watched and steered."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from hfaria.cli.signals import catch_signals

_INTERRUPTED = 130  # as in hfaria.cli: nothing slow is imported before signals are handled


def main() -> NoReturn:
    """Run the job whose folder is named by the only argument."""
    catch_signals()
    code = _INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt):  # before it began, or while it told its end
        code = _run(Path(sys.argv[1]))
    os._exit(code)


def _run(path: Path) -> int:
    from hfaria.cli.invocation import Invocation  # noqa: PLC0415 - after the signals
    from hfaria.cli.main import run  # noqa: PLC0415
    from hfaria.cli.render import print_error  # noqa: PLC0415
    from hfaria.errors import HfariaError, StoreError, UsageError  # noqa: PLC0415
    from hfaria.jobs.folder import JobFolder  # noqa: PLC0415
    from hfaria.jobs.log import LogStream  # noqa: PLC0415
    from hfaria.workflows.job_run import JobRun  # noqa: PLC0415

    folder = JobFolder(path)
    stream = LogStream(folder.log)
    sys.stdout = sys.stderr = stream
    try:
        command = folder.read_command()
        if command is None:
            raise UsageError(f"what is written in `{path}` can't be understood")
        with folder.hold():
            job = JobRun(folder)
            job.begin()
            try:
                # Not before all is imported: Python would take modules from there.
                os.chdir(command.folder)
            except OSError as exc:
                error = StoreError(f"the job's folder `{command.folder}`: {exc.strerror}")
                print_error(error)
                job.note_error(error)
                code = error.exit_code
            else:
                code = run(list(command.arguments), Invocation(command.arguments, job))
            job.end(code)
    except HfariaError as exc:
        print_error(exc)
        return int(exc.exit_code)
    finally:
        stream.finish()
    return int(code)


if __name__ == "__main__":
    main()
