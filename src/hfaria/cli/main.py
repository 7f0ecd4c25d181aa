"""The command group, and the funnel through which every error reaches the user."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

import click

from hfaria import __version__
from hfaria.cli.adopt import adopt_command
from hfaria.cli.clean import clean_command
from hfaria.cli.doctor import doctor_command
from hfaria.cli.files import files_command
from hfaria.cli.hfd import hfd_command
from hfaria.cli.kept import ls_command, verify_command
from hfaria.cli.lock import lock_command
from hfaria.cli.manifest import add_command, remove_command
from hfaria.cli.mirrors import mirrors_command
from hfaria.cli.outdated import outdated_command
from hfaria.cli.preload import preload_command
from hfaria.cli.pull import pull_command
from hfaria.cli.render import EXIT_CODES, print_error
from hfaria.cli.repair import repair_command
from hfaria.errors import ExitCode, HfariaError
from hfaria.redact import redact

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT, epilog=EXIT_CODES)
@click.version_option(__version__, "--version", message="hfaria %(version)s")
def cli() -> None:
    """Fetch Hugging Face repos: resumable, verified, laid out as a Hugging Face cache."""


for _command in (
    pull_command,
    preload_command,
    lock_command,
    add_command,
    remove_command,
    files_command,
    ls_command,
    verify_command,
    repair_command,
    outdated_command,
    clean_command,
    adopt_command,
    hfd_command,
    mirrors_command,
    doctor_command,
):
    cli.add_command(_command)


def run(arguments: list[str]) -> ExitCode:
    """Run the command line and return its exit code; every error becomes one line on stderr."""
    is_debug = "--debug" in arguments
    try:
        cli.main(args=arguments, prog_name="hfaria", standalone_mode=False)
    except click.ClickException as exc:
        exc.show(sys.stderr)
        return ExitCode.USAGE
    except HfariaError as exc:
        if is_debug:
            sys.stderr.write(redact(traceback.format_exc()))
        print_error(exc)
        return exc.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.stderr.write("\ninterrupted; rerun the same command to resume\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away; nothing more can be said to them.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as exc:  # noqa: BLE001 - the last line of defence
        if is_debug:
            sys.stderr.write(redact(traceback.format_exc()))
        text = redact(f"{type(exc).__name__}: {exc}")
        sys.stderr.write(f"error: a bug in hfaria: {text}\n")
        sys.stderr.write("hint: please report it with what `--debug` prints\n")
        return ExitCode.BUG
    return ExitCode.DONE
