"""Say what a bundle's plan is, and what was written: as text and as JSON documents."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hfaria.rules.sizes import count, format_size

if TYPE_CHECKING:
    from hfaria.rules.bundle_plan import Stick, StickPlan
    from hfaria.workflows.bundle_create import Created
    from hfaria.workflows.bundle_draft import Draft

_MOST = 8


def draft_lines(draft: Draft, *, will_ask: bool = False) -> list[str]:
    """Return the plan, a line for each stick and each thing to know.

    ``will_ask``: whether sticks that are not at hand are asked for.
    """
    repos = len({revision.folder for revision in draft.revisions})
    name = "set ?" if draft.set_id is None else f"set {draft.set_id[:16]}"
    what = [
        count(repos, "repo"),
        count(len(draft.revisions), "revision"),
        count(draft.files, "file"),
        format_size(draft.size),
    ]
    send = [f"base: {draft.base}", f"to send: {format_size(draft.to_send)}"]
    if draft.to_fetch:
        send.append(f"to pull first: {format_size(draft.to_fetch)}")
    lines = [f"{name}: {', '.join(what)}", "; ".join(send)]
    sticks = {stick.label: stick for stick in draft.sticks}
    lines += [_stick_line(plan, sticks[plan.label]) for plan in draft.plan.sticks]
    unused = len(draft.sticks) - len(draft.plan.sticks)
    if unused and not draft.problems:
        lines.append(f"not needed: {count(unused, 'stick')}")
    lines += _in_place_lines(draft)
    lines += _cut_lines(draft)
    waiting = [plan for plan in draft.plan.sticks if not sticks[plan.label].kind]
    if waiting and not draft.problems:
        which = f"stick {waiting[0].number}" if len(waiting) == 1 else "the others"
        later = (
            f"insert {which} when asked, or add `--to`"
            if will_ask
            else "what is not at hand is written by the same command later"
        )
        lines.append(f"needs {count(len(draft.plan.sticks), 'stick')}; {later}")
    return lines


def _stick_line(plan: StickPlan, stick: Stick) -> str:
    where = f"{stick.label} ({stick.kind})" if stick.kind else "not at hand"
    return (
        f"stick {plan.number}: {where}, {format_size(stick.free_bytes)} free; "
        f"{count(plan.count, 'file')}, {format_size(plan.payload)}"
    )


def _in_place_lines(draft: Draft) -> list[str]:
    labels = {revision.key: revision.label for revision in draft.revisions}
    lines = [
        f"usable on stick {plan.number} itself: {labels[key]}"
        for plan in draft.plan.sticks
        for key in plan.in_place
    ]
    lines += [
        f"to be imported: {labels[key]}:\n  {reason}" for key, reason in draft.plan.reasons.items()
    ]
    return _at_most(lines)


def _cut_lines(draft: Draft) -> list[str]:
    entries = {entry.content: entry for revision in draft.revisions for entry in revision.entries}
    sticks = {stick.label: stick for stick in draft.sticks}
    lines = []
    for content, number in draft.plan.cuts.items():
        entry = entries[content]
        holders = [
            sticks[plan.label]
            for plan in draft.plan.sticks
            if any(file.content == content for file in plan.files)
        ]
        narrow = [stick for stick in holders if (stick.largest_file or entry.size) < entry.size]
        size = format_size(entry.size)
        if narrow and narrow[0].kind and len(holders) == 1:
            lines.append(
                f"E-FAT4G {narrow[0].label} is {narrow[0].kind}: {entry.path} ({size}) is stored "
                f"in {number} parts and cannot be loaded from the stick itself. Import it, or "
                "reformat the stick as exFAT (this erases it)."
            )
            continue
        if len(holders) > 1:
            why = f"no stick has room for all of it: it lies on {len(holders)}"
        else:
            why = "FAT32 could not hold it whole" if narrow else "--part-size"
        lines.append(f"in {number} parts: {entry.path} ({size}): {why}")
    return _at_most(lines)


def _at_most(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST:
        return lines
    return [*lines[: _MOST - 1], f"and {len(lines) - _MOST + 1} more"]


def draft_document(draft: Draft) -> dict[str, Any]:
    """Return the plan as the JSON document of `--plan-only --json`."""
    sticks = {stick.label: stick for stick in draft.sticks}
    return {
        "set_id": draft.set_id,
        "base": draft.base,
        "repos": [
            {
                "repo_id": one.spec.repo_id,
                "repo_type": one.spec.repo_type.value,
                "revision": one.spec.revision,
                "commit": one.commit,
                "files": len(one.files),
                "size": one.size,
                "bytes_to_fetch": one.to_fetch,
            }
            for one in draft.wanted
        ],
        "size": draft.size,
        "bytes_to_send": draft.to_send,
        "bytes_missing": draft.plan.missing,
        "sticks": [
            {
                "stick": plan.number,
                "path": plan.label if sticks[plan.label].kind else None,
                "filesystem": plan.kind or None,
                "free": sticks[plan.label].free_bytes,
                "needed": plan.needed,
                "size": plan.payload,
                "files": plan.count,
                "in_place": list(plan.in_place),
            }
            for plan in draft.plan.sticks
        ],
        "not_in_place": dict(draft.plan.reasons),
        "cut": [{"content": content, "parts": n} for content, n in draft.plan.cuts.items()],
        "problems": list(draft.problems),
    }


def created_document(created: Created) -> dict[str, Any]:
    """Return what was written as the JSON document of `bundle create --json`."""
    return {
        "set_id": created.set_id,
        "sticks": created.sticks,
        "bags": [str(bag) for bag in created.bags],
        "missing": list(created.missing),
        "is_complete": not created.missing,
    }


def print_created(created: Created, *, is_quiet: bool) -> None:
    """Say what was done on stderr, and print the folders on stdout."""
    if not is_quiet:
        done = created.sticks - len(created.missing)
        sys.stderr.write(f"set {created.set_id[:16]}: {done} of {created.sticks} sticks written\n")
        if created.bags and not created.missing:
            sys.stderr.write(
                "to be sure of a stick: unplug it, put it in again, `hfaria bundle verify` it\n"
                f"at the target: python3 {created.bags[-1].name}/import_bundle.py import\n"
            )
        sys.stderr.flush()
    for bag in created.bags:
        click.echo(str(bag))
