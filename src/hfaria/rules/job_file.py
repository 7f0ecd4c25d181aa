"""The form of a job's files: JSON with a version. What can't be understood is None, no guess."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from hfaria.rules.jobs import JobCommand, JobEnd, JobReport, Process, Wish
from hfaria.rules.progress import ActiveTransfer, Progress

VERSION = 1


def serialize_command(command: JobCommand) -> str:
    """Return the text of ``job.json``."""
    return _dump({**asdict(command), "environment": dict(command.environment)})


def parse_command(text: str, job_id: str) -> JobCommand | None:
    """Read ``job.json``; None if it is not whole, of another version, or another job's."""
    try:
        values = _load(text)
        command = JobCommand(
            job_id=_text(values["job_id"]),
            title=_text(values["title"]),
            arguments=tuple(_text(each) for each in _list(values["arguments"])),
            folder=_text(values["folder"]),
            created_at=_number(values["created_at"]),
            environment=tuple(
                (name, _text(value)) for name, value in _table(values["environment"]).items()
            ),
            withheld=tuple(_text(each) for each in _list(values["withheld"])),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return command if command.job_id == job_id else None


def serialize_report(report: JobReport) -> str:
    """Return the text of ``state.json``."""
    values = asdict(report)
    end = report.end
    if end is not None:
        values["end"]["wish"] = None if end.wish is None else end.wish.value
    return _dump(values)


def parse_report(text: str) -> JobReport | None:
    """Read ``state.json``; None if it is not whole or of another version."""
    try:
        values = _load(text)
        process, end, progress = values["process"], values["end"], values["progress"]
        return JobReport(
            process=Process(
                _count(process["pid"]), _text(process["started"]), _text(process["boot_id"])
            ),
            began_at=_number(values["began_at"]),
            updated_at=_number(values["updated_at"]),
            progress=None if progress is None else _progress(_table(progress)),
            waits_since=_optional_number(values["waits_since"]),
            said=_optional_text(values["said"]),
            end=None if end is None else _end(_table(end)),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _progress(values: dict[str, Any]) -> Progress:
    return Progress(
        files_done=_count(values["files_done"]),
        files=_count(values["files"]),
        held=_count(values["held"]),
        size=_count(values["size"]),
        rate=_number(values["rate"]),
        active=tuple(
            ActiveTransfer(
                _text(each["label"]),
                _count(each["size"]),
                _count(each["held"]),
                _number(each["rate"]),
                is_verifying=each["is_verifying"] is True,
            )
            for each in _list(values["active"])
        ),
        waiting=_optional_text(values["waiting"]),
        waiting_for=_optional_text(values["waiting_for"]),
        repos_done=_count(values["repos_done"]),
        repos=_count(values["repos"]),
    )


def _end(values: dict[str, Any]) -> JobEnd:
    wish = values["wish"]
    return JobEnd(
        exit_code=_count(values["exit_code"]),
        ended_at=_number(values["ended_at"]),
        wish=None if wish is None else Wish(wish),
        error=_optional_text(values["error"]),
        hint=_optional_text(values["hint"]),
    )


def _dump(values: dict[str, Any]) -> str:
    return json.dumps({"version": VERSION, **values}, ensure_ascii=False, indent=1) + "\n"


def _load(text: str) -> dict[str, Any]:
    try:
        values = _table(json.loads(text))
    except RecursionError as exc:
        raise ValueError from exc
    if values.get("version") != VERSION:
        raise ValueError(values.get("version"))
    return values


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return float(value)


def _optional_number(value: object) -> float | None:
    return None if value is None else _number(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(value)
    return value
