"""The command line of the script on a stick."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING, Any

from hfaria.bundle.importer.console import Console, write_document
from hfaria.bundle.importer.errors import INTERRUPTED, USAGE, BundleError
from hfaria.bundle.importer.format import IMPORTER_NAME
from hfaria.bundle.importer.importing import import_bundle
from hfaria.bundle.importer.inspecting import inspect_bundle
from hfaria.bundle.importer.inventory import inventory_document
from hfaria.bundle.importer.load_check import load_check
from hfaria.bundle.importer.options import Options, check_day, parse_size
from hfaria.bundle.importer.selftest import selftest
from hfaria.bundle.importer.verifying import verify_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_CODES = """exit codes:
  0  done            3  incomplete: more sticks, or run again   7  the cache: space, names, rights
  1  a bug           4  bytes are not what was promised         8  trust, policy, prerequisites
  2  wrong usage, or no bundle of hfaria's                    130  interrupted: run again"""


def default_cache(environ: Mapping[str, str]) -> str:
    """Return the cache that huggingface_hub would use."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return os.path.expanduser(os.path.expandvars(environ[name]))
    base = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    home = environ.get("HF_HOME") or os.path.join(base, "huggingface")
    return os.path.join(os.path.expanduser(os.path.expandvars(home)), "hub")


def named_cache(given: str | None, environ: Mapping[str, str]) -> str:
    """Return the cache to use; an empty name is a variable that was not set, and is refused."""
    if given == "":
        raise BundleError("E-USAGE", USAGE, "--cache names no folder")
    return default_cache(environ) if given is None else given


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the script's own command line."""
    parser = argparse.ArgumentParser(
        prog=IMPORTER_NAME,
        description="Look at, verify and import a bundle: a Hugging Face cache on a stick.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--selftest", action="store_true", help="try all of it in a scratch folder")
    verbs = parser.add_subparsers(dest="verb", metavar="inspect|verify|import|inventory")
    inspect, verify, bring, inventory = (
        verbs.add_parser(name, help=text, description=text)
        for name, text in (
            ("inspect", "Show what the sticks hold, and who signed it."),
            ("verify", "Read all of it and compare it with the lists."),
            ("import", "Bring it into this machine's cache; run again to go on."),
            ("inventory", "Write down what this machine has, for the next bundle."),
        )
    )
    for verb in (inspect, verify, bring):
        text = "a stick, or its folder hfb-...; default: where this script lies"
        verb.add_argument("paths", nargs="*", metavar="PATH", help=text)
        text = "a public key that you vouch for: ssh-ed25519 or minisign, or a file of them"
        verb.add_argument("--trust", action="append", default=[], metavar="KEY", help=text)
        verb.add_argument("--json", action="store_true", help="print one JSON document")
    for verb in (verify, bring):
        text = "refuse what is not signed by a trusted key"
        verb.add_argument("--require-signature", action="store_true", help=text)
    verify.add_argument("--needs", metavar="FILE", help="write the bad pieces there")
    text = "write all that is missing there: for a stick that was lost"
    bring.add_argument("--needs", metavar="FILE", help=text)
    inspect.add_argument("--files", action="store_true", help="list the files")
    verify.add_argument("--quick", action="store_true", help="compare sizes only")
    for verb in (bring, inventory):
        text = "the Hugging Face cache (default: HF_HUB_CACHE)"
        verb.add_argument("--cache", "--cache-dir", metavar="DIR", help=text)
    text = "only this repo; repeatable"
    bring.add_argument("--repo", action="append", default=[], metavar="REPO", help=text)
    text = "auto shares blocks where it can, else copies; move frees the stick; link is a hard link"
    bring.add_argument(
        "--mode", choices=("auto", "copy", "move", "link"), default="auto", help=text
    )
    text = "let refs that name another commit name the bundle's"
    bring.add_argument("--update-refs", action="store_true", help=text)
    text = "refuse pickles and programs"
    bring.add_argument("--safe-only", action="store_true", help=text)
    text = "refuse a bundle made before that day (YYYY-MM-DD)"
    bring.add_argument("--not-before", metavar="DATE", help=text)
    text = "read again what the cache has, instead of trusting names and sizes"
    bring.add_argument("--rehash-existing", action="store_true", help=text)
    bring.add_argument(
        "--reserve", metavar="SIZE", help="space to leave free (default: 1 GiB or 1 %%)"
    )
    bring.add_argument("--partial", action="store_true", help="import from an unfinished stick")
    bring.add_argument("--dry-run", action="store_true", help="check all, copy nothing")
    text = "afterwards, let huggingface_hub load it offline"
    bring.add_argument("--load-check", action="store_true", help=text)
    text = "leave out all names: only hashes and sizes"
    inventory.add_argument("--hashes-only", action="store_true", help=text)
    inventory.add_argument("-o", "--output", metavar="FILE", required=True, help="file to write")
    return parser


def _run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if arguments.verb == "inventory":
        cache = named_cache(arguments.cache, environ)
        content = inventory_document(cache, hashes_only=arguments.hashes_only)
        write_document(arguments.output, content, Console())
        return 0
    console = Console(is_quiet=arguments.json)
    paths = arguments.paths or [os.path.dirname(os.path.abspath(__file__))]
    document: dict[str, Any]
    error: BundleError | None = None
    if arguments.verb == "inspect":
        document = inspect_bundle(paths, arguments.trust, console, with_files=arguments.files)
    elif arguments.verb == "verify":
        document, error = verify_bundle(
            paths,
            arguments.trust,
            console,
            is_required=arguments.require_signature,
            is_quick=arguments.quick,
            needs=arguments.needs,
        )
    else:
        is_off = environ.get("HF_HUB_DISABLE_SYMLINKS", "").upper() in ("1", "ON", "YES", "TRUE")
        options = Options(
            cache=named_cache(arguments.cache, environ),
            repos=tuple(arguments.repo),
            mode=arguments.mode,
            update_refs=arguments.update_refs,
            trust=tuple(arguments.trust),
            require_signature=arguments.require_signature,
            safe_only=arguments.safe_only,
            not_before=check_day(arguments.not_before),
            rehash=arguments.rehash_existing,
            reserve=None if arguments.reserve is None else parse_size(arguments.reserve),
            is_dry_run=arguments.dry_run,
            needs=arguments.needs,
            allow_symlinks=not is_off,
        )
        document, error = import_bundle(paths, options, console, is_partial=arguments.partial)
        if arguments.load_check and error is None:
            error = load_check(document, options.cache, environ, console)
    if arguments.json:
        print(json.dumps(document, indent=2), flush=True)
    if error is not None:
        raise error
    return 0


def _catch_signals() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # `nohup`, and a shell's background jobs, ask for what is ignored to stay so.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # what follows is an orderly end, to be cut short by none
    raise KeyboardInterrupt


def main(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the script's command line and return its exit code."""
    parser = make_parser()
    arguments = parser.parse_args(words)
    try:
        _catch_signals()
        if arguments.selftest:
            selftest()
            print(f"selftest ok: Python {platform.python_version()}, {platform.system()}")
            return 0
        if arguments.verb is None:
            parser.print_help()
            return USAGE
        return _run(arguments, environ)
    except BundleError as exc:
        print(f"error: {exc.code} {exc.message}", file=sys.stderr)
        if exc.hint:
            print(f"hint: {exc.hint}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command to go on", file=sys.stderr)
        return INTERRUPTED
