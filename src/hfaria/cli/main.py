"""The command group, and the funnel through which every error reaches the user."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module

import click

from hfaria import __version__
from hfaria.cli.render import EXIT_CODES, print_error
from hfaria.errors import ExitCode, HfariaError
from hfaria.redact import redact

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# Each command's module is imported when it is asked for: most need half of the others' packages.
_COMMANDS = {
    "pull": "pull:pull_command",
    "preload": "preload:preload_command",
    "lock": "lock:lock_command",
    "add": "manifest:add_command",
    "remove": "manifest:remove_command",
    "files": "files:files_command",
    "ls": "kept:ls_command",
    "verify": "kept:verify_command",
    "repair": "repair:repair_command",
    "outdated": "outdated:outdated_command",
    "clean": "clean:clean_command",
    "adopt": "adopt:adopt_command",
    "hfd": "hfd:hfd_command",
    "mirrors": "mirrors:mirrors_command",
    "doctor": "doctor:doctor_command",
}


class _Commands(click.Group):
    """A group that knows its commands by name, in the order of the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's form
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command = getattr(import_module(f"hfaria.cli.{module}"), name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_Commands, context_settings=_CONTEXT, epilog=EXIT_CODES)
@click.version_option(__version__, "--version", message="hfaria %(version)s")
def cli() -> None:
    """Fetch Hugging Face repos: resumable, verified, laid out as a Hugging Face cache."""


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
