"""The command group, and the funnel through which every error reaches the user."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module

import click

from hfaria import __version__
from hfaria.cli.invocation import Invocation
from hfaria.cli.render import EXIT_CODES, print_error
from hfaria.errors import ExitCode, HfariaError
from hfaria.redact import redact

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# What a line of the help says of each command, and where it is. Its module is imported when it is
# asked for: most commands need half of the others' packages.
_COMMANDS = {
    "pull": ("Fetch a repo, verified; rerun to resume.", "pull:pull_command"),
    "preload": ("Fetch all repos of a manifest, as locked.", "preload:preload_command"),
    "status": ("Show the jobs that `--detach` began.", "status:status_command"),
    "logs": ("Print what a job said.", "jobs:logs_command"),
    "pause": ("Let jobs rest until they are resumed.", "jobs:pause_command"),
    "resume": ("Continue jobs that were paused or cut.", "jobs:resume_command"),
    "stop": ("End jobs in order.", "jobs:stop_command"),
    "limit": ("Hold jobs to a rate from now on.", "jobs:limit_command"),
    "lock": ("Lock the manifest's repos to their commits.", "lock:lock_command"),
    "add": ("Add a repo to the manifest, or change it.", "manifest:add_command"),
    "remove": ("Remove a repo from the manifest.", "manifest:remove_command"),
    "files": ("Show a repo's files, sorted into variants.", "files:files_command"),
    "ls": ("Show what the cache holds.", "kept:ls_command"),
    "verify": ("Compare repos with their listings, offline.", "kept:verify_command"),
    "repair": ("Verify repos, and fetch what is wrong.", "repair:repair_command"),
    "outdated": ("Compare cached branches with upstream.", "outdated:outdated_command"),
    "clean": ("Show what no reader needs, and remove it.", "clean:clean_command"),
    "adopt": ("Take over what other tools fetched.", "adopt:adopt_command"),
    "hfd": ("Fetch a repo with the options of hfd.sh.", "hfd:hfd_command"),
    "bundle": ("Carry a cache to a machine without network.", "bundle_commands:bundle_group"),
    "inventory": ("Write down what a cache has, for a bundle.", "inventory:inventory_command"),
    "mirrors": ("Probe endpoints, and say which to ask first.", "mirrors:mirrors_command"),
    "doctor": ("Check all that a pull needs.", "doctor:doctor_command"),
}


class _Commands(click.Group):
    """A group that knows its commands by name, in the order of the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's form
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][1].partition(":")
        command = getattr(import_module(f"hfaria.cli.{module}"), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (text, _) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings=_CONTEXT, epilog=EXIT_CODES)
@click.version_option(__version__, "--version", message="hfaria %(version)s")
def cli() -> None:
    """Fetch Hugging Face repos: resumable, verified, laid out as a Hugging Face cache."""


def run(arguments: list[str], invocation: Invocation | None = None) -> ExitCode:
    """Run the command line and return its exit code; every error becomes one line on stderr.

    ``invocation`` tells more of how it was called; a job's process makes one.
    """
    this = invocation or Invocation(tuple(arguments))
    is_debug = "--debug" in arguments
    try:
        cli.main(args=arguments, prog_name="hfaria", standalone_mode=False, obj=this)
    except click.ClickException as exc:
        exc.show(sys.stderr)
        return ExitCode.USAGE
    except HfariaError as exc:
        if is_debug:
            sys.stderr.write(redact(traceback.format_exc()))
        print_error(exc)
        if this.job is not None:
            this.job.note_error(exc)
        return exc.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.stderr.write(f"\n{this.farewell}\n")
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
