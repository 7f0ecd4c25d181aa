from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.cli.render_jobs import print_job, print_jobs
from hfaria.cli.status import _joint
from hfaria.errors import ExitCode, JobBusy, StoreError, UsageError
from hfaria.jobs.folder import JobFolder, all_folders, find_folder, make_folder
from hfaria.jobs.log import LogStream, follow_log, older, read_log
from hfaria.jobs.process import find_process
from hfaria.redact import without_secrets
from hfaria.report.reporter import SilentReporter
from hfaria.report.snapshots import SnapshotReporter
from hfaria.rules.job_file import (
    parse_command,
    parse_report,
    serialize_command,
    serialize_report,
)
from hfaria.rules.jobs import (
    Job,
    JobCommand,
    JobEnd,
    JobFacts,
    JobReport,
    JobState,
    Process,
    Wish,
    environment_again,
    judge,
    to_forget,
)
from hfaria.rules.progress import ActiveTransfer, Progress
from hfaria.settings import (
    JOB_VARIABLES,
    SECRET_VARIABLES,
    Overrides,
    environment_of_job,
    load_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

PROCESS = Process(77, "12345", "boot-1")
HALF = Progress(
    files_done=1,
    files=3,
    held=500,
    size=1000,
    rate=100.0,
    active=(ActiveTransfer("a", 10, 5, 1.5, is_verifying=True),),
)
WAITING = replace(HALF, waiting="waiting 5 s: refused", waiting_for="refused")
COMMAND = JobCommand(
    "abcd", "org/name", ("pull", "org/name"), "/data", 1000.0, (("TZ", "UTC"),), ("HF_TOKEN",)
)
REPORT = JobReport(PROCESS, 1001.0, 1002.0, progress=HALF, said="a note")
ALIVE = JobFacts(is_locked=True, process=PROCESS, now=2000.0)
GONE = JobFacts(is_locked=False, process=None, now=2000.0)


def ended(code: ExitCode, wish: Wish | None = None) -> JobReport:
    return replace(REPORT, end=JobEnd(int(code), 1500.0, wish))


# --- what is to be believed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "facts", "state"),
    [
        (REPORT, ALIVE, JobState.RUNNING),
        (replace(REPORT, progress=None), ALIVE, JobState.RUNNING),
        (replace(REPORT, progress=WAITING), ALIVE, JobState.WAITING),
        (REPORT, GONE, JobState.CUT),
        (replace(REPORT, progress=WAITING), GONE, JobState.CUT),
        # Locks that are worth nothing: the process itself is looked at.
        (REPORT, replace(GONE, process=PROCESS), JobState.RUNNING),
        # The pid is another's by now, in this boot or in the next one.
        (REPORT, replace(GONE, process=replace(PROCESS, started="9")), JobState.CUT),
        (REPORT, replace(GONE, process=replace(PROCESS, boot_id="boot-2")), JobState.CUT),
        # A system that tells nothing of processes: only the lock counts.
        (
            replace(REPORT, process=Process(77, "", "")),
            replace(GONE, process=Process(77, "", "")),
            JobState.CUT,
        ),
        (ended(ExitCode.DONE), GONE, JobState.DONE),
        (ended(ExitCode.HUB), GONE, JobState.FAILED),
        (ended(ExitCode.INCOMPLETE), GONE, JobState.FAILED),
        (ended(ExitCode.INTERRUPTED, Wish.PAUSE), GONE, JobState.PAUSED),
        (ended(ExitCode.INTERRUPTED, Wish.STOP), GONE, JobState.STOPPED),
        # An orderly shutdown of the machine sends the same signal as `kill`.
        (ended(ExitCode.INTERRUPTED), GONE, JobState.CUT),
        # It was resumed, and has not said a word yet.
        (ended(ExitCode.HUB), ALIVE, JobState.STARTING),
        (None, replace(GONE, now=1001.0), JobState.STARTING),
        (None, GONE, JobState.CUT),
    ],
)
def test_what_a_job_told_counts_as_far_as_the_facts_bear_it_out(
    report: JobReport | None, facts: JobFacts, state: JobState
) -> None:
    assert judge(COMMAND, report, facts) is state


def test_the_newest_jobs_stay_listed_and_none_that_can_go_on_is_forgotten() -> None:
    jobs = [
        Job(replace(COMMAND, job_id=f"{n}", created_at=n), None, state)
        for n, state in enumerate([*[JobState.DONE] * 3, JobState.CUT, JobState.PAUSED])
    ]
    assert [job.job_id for job in to_forget(jobs, most=2)] == ["0"]
    assert to_forget(jobs, most=3) == ()


# --- the form of the files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [
        REPORT,
        replace(REPORT, progress=None, said=None),
        replace(REPORT, progress=WAITING, waits_since=1001.5),
        replace(REPORT, end=JobEnd(5, 3.0, Wish.STOP, "it failed", "do this")),
    ],
)
def test_a_report_is_read_as_it_was_written(report: JobReport) -> None:
    assert parse_report(serialize_report(report)) == report


def test_a_command_is_read_as_it_was_written_and_only_in_its_own_folder() -> None:
    assert parse_command(serialize_command(COMMAND), "abcd") == COMMAND
    assert parse_command(serialize_command(COMMAND), "efgh") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000, "\x00", '{"version": 1}'])
def test_rubbish_is_nothing(text: str) -> None:
    assert parse_report(text) is None
    assert parse_command(text, "abcd") is None


@given(st.data())
def test_a_file_with_one_wrong_value_is_nothing_or_well_formed(data: st.DataObject) -> None:
    values = json.loads(serialize_report(replace(REPORT, end=JobEnd(0, 1.0))))
    key = data.draw(st.sampled_from(sorted(values)))
    values[key] = data.draw(st.none() | st.booleans() | st.text() | st.lists(st.integers()))
    parsed = parse_report(json.dumps(values))
    assert parsed is None or parse_report(serialize_report(parsed)) == parsed


def test_a_file_of_another_version_is_nothing() -> None:
    text = serialize_report(REPORT).replace('"version": 1', '"version": 2')
    assert parse_report(text) is None


# --- the environment ------------------------------------------------------------------------------


def test_no_secret_is_written_down() -> None:
    environ = {
        "HF_TOKEN": "hf_0123456789",
        "HFARIA_RPC_SECRET": "s3cret",
        "https_proxy": "http://me:pass@proxy:3128",
        "ALL_PROXY": "me:pass@proxy:1080",
        "http_proxy": "http://proxy:3128",
        "HF_HUB_CACHE": "/data/hf_downloads",
        "PATH": "/opt/python@3.11/bin",
        "UNRELATED": "hf_0123456789",
    }
    kept, withheld = environment_of_job(environ)
    assert dict(kept) == {name: environ[name] for name in ("HF_HUB_CACHE", "PATH", "http_proxy")}
    assert {*withheld} == {"HF_TOKEN", "HFARIA_RPC_SECRET", "https_proxy", "ALL_PROXY"}
    assert {*JOB_VARIABLES} >= SECRET_VARIABLES


def test_a_job_sees_the_environment_that_it_began_in_and_the_secrets_of_now() -> None:
    environ = {"HF_HUB_CACHE": "/then", "HF_TOKEN": "old"}
    names = ("HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN")
    kept, withheld = without_secrets(environ, names=names, secrets=frozenset({"HF_TOKEN"}))
    command = replace(COMMAND, environment=kept, withheld=withheld)
    now = {"HF_HUB_CACHE": "/now", "HF_ENDPOINT": "https://b", "HF_TOKEN": "new", "USER": "me"}
    assert environment_again(command, now, names=names) == {
        "HF_HUB_CACHE": "/then",
        "HF_TOKEN": "new",
        "USER": "me",
    }


def test_the_state_has_a_place_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('state_dir = "/from/config"\n', encoding="utf-8")
    environ = {"HFARIA_CONFIG": str(config)}
    assert str(load_settings(Overrides(), environ).state_dir) == "/from/config"
    environ["HFARIA_STATE_DIR"] = "/from/environment"
    assert str(load_settings(Overrides(), environ).state_dir) == "/from/environment"


# --- the folder -----------------------------------------------------------------------------------


def test_a_folder_is_the_users_alone_and_is_found_by_its_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "state")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert re.fullmatch(r"[a-z2-9]{4}", folder.job_id)
    assert find_folder(tmp_path / "state", folder.job_id) == folder
    assert all_folders(tmp_path / "nowhere") == ()
    with pytest.raises(UsageError, match="there is no job `x`"):
        find_folder(tmp_path / "state", "x")


def test_what_belongs_to_another_user_is_no_job_of_ours(tmp_path: Path) -> None:
    ours = make_folder(tmp_path)
    (tmp_path / "jobs" / "link").symlink_to(ours.path)
    assert all_folders(tmp_path) == (ours,)
    assert all_folders(tmp_path, owner=os.getuid() + 1) == ()


def test_only_one_holds_a_job_and_the_others_can_tell(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert not folder.is_locked()
    with folder.hold():
        assert folder.is_locked()
        with pytest.raises(JobBusy, match="runs already"), folder.hold(seconds=0):
            pass
    assert not folder.is_locked()
    assert folder.is_locked() is False


def test_wishes_and_limits_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert folder.read_wish() is None
    assert folder.read_limit() is None
    folder.write_wish(Wish.PAUSE)
    folder.write_limit("2M@08:00-19:00")
    assert folder.read_wish() is Wish.PAUSE
    assert folder.read_limit() == "2M@08:00-19:00"
    folder.write_wish(None)
    assert folder.read_wish() is None
    (folder.path / "wish").write_bytes(b"\xff\xfe nonsense")
    assert folder.read_wish() is None
    assert {path.name for path in folder.path.iterdir()} == {"wish", "limit"}


def test_a_state_folder_that_can_not_be_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="file/jobs"):
        make_folder(tmp_path / "file")
    with pytest.raises(StoreError, match="writing the state of jobs"):
        JobFolder(tmp_path / "gone").write_limit("1M")


def test_a_process_is_told_from_another_with_its_pid() -> None:
    found = find_process(os.getpid())
    assert found is not None
    assert found == find_process(os.getpid())
    assert found.started
    assert found.boot_id
    assert find_process(2**22 + 1) is None


# --- the log --------------------------------------------------------------------------------------


def open_log(path: Path, *, most_bytes: int) -> tuple[LogStream, int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return LogStream(path, descriptors=(descriptor,), most_bytes=most_bytes), descriptor


def test_the_log_has_a_time_on_each_line_and_no_secret(tmp_path: Path) -> None:
    stream, descriptor = open_log(tmp_path / "log", most_bytes=10_000)
    print("one", "https://host/x?X-Amz-Signature=abc", file=stream)
    print("\n\ntwo hf_0123456789abc", file=stream)
    stream.write("no end " + "x" * 9000)
    stream.finish()
    os.close(descriptor)
    lines = "".join(read_log(tmp_path / "log")).splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    assert [line[20:40] for line in lines] == [
        "one https://host/x?X",
        "two ****",
        "no end xxxxxxxxxxxxx",
    ]
    assert "abc" not in "".join(lines)
    assert max(map(len, lines)) < 4100


def test_the_log_is_bounded_and_followed_when_it_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stream, descriptor = open_log(log, most_bytes=500)
    said = 0
    read: list[str] = []

    def is_over() -> bool:
        nonlocal said
        if said < 100:
            print(f"line {said}", file=stream)
            said += 1
        return said == 100

    read = [*follow_log(log, is_over=is_over)]
    os.close(descriptor)
    assert [line[20:] for line in "".join(read).splitlines()] == [f"line {n}" for n in range(100)]
    assert log.stat().st_size + older(log).stat().st_size < 1200
    assert "".join(read_log(log)).endswith("line 99\n")


# --- snapshots ------------------------------------------------------------------------------------


def test_moments_are_kept_seldom_and_at_once_when_waiting_begins_or_ends() -> None:
    kept: list[tuple[Progress, float | None]] = []
    heard: list[str] = []
    reporter = SnapshotReporter(
        SilentReporter(), keep=lambda *moment: kept.append(moment), hear=heard.append
    )
    for _ in range(5):
        reporter.show(HALF)
    assert kept == [(HALF, None)]
    reporter.show(WAITING)
    later = replace(WAITING, waiting="waiting 4 s: refused")
    reporter.show(later)
    reporter.show(HALF)
    assert [moment for moment, _ in kept] == [HALF, WAITING, HALF]
    assert [since is None for _, since in kept] == [True, False, True]
    done = replace(HALF, held=1000)
    reporter.show(done)
    reporter.note("a")
    reporter.warn("b")
    reporter.close()
    assert kept[-1] == (done, None)
    assert heard == ["a", "b"]


# --- what is shown --------------------------------------------------------------------------------


def job(report: JobReport | None, state: JobState, *, title: str = "org/name") -> Job:
    return Job(replace(COMMAND, title=title), report, state)


def test_the_table_is_no_wider_than_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "org/" + "a-long-name" * 20
    reason = "connection refused " * 20
    failed = replace(REPORT, end=JobEnd(5, 1500.0, None, reason, None))
    waiting = replace(REPORT, progress=replace(WAITING, waiting_for=reason), waits_since=1000.0)
    moving = replace(HALF, rate=999e6, size=10**15)
    print_jobs(
        [
            job(REPORT, JobState.CUT),
            job(failed, JobState.FAILED, title=long),
            job(waiting, JobState.WAITING, title=long),
            job(replace(REPORT, progress=moving), JobState.RUNNING, title=long + "\x1b[2J"),
            job(replace(REPORT, progress=None), JobState.RUNNING),
            job(None, JobState.STARTING),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)
    assert [line.split()[1] for line in lines if line.startswith("abcd")] == [
        "cut", "failed", "waiting", "running", "running", "starting",
    ]  # fmt: skip
    below = [line.strip() for line in lines if line.startswith("      ")]
    assert below[0].startswith("no sign of it after 1970-01-01")
    assert "connection refused" in below[1]
    assert below[2].startswith("since 1970-01-01")
    assert below[3] == "a note"


def test_all_that_is_known_of_a_job_is_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failed = replace(REPORT, end=JobEnd(5, 1500.0, None, "no such repo", None))
    print_job(replace(job(failed, JobState.FAILED), limit="2M"), tmp_path / "log")
    shown = capsys.readouterr().out
    for line in (
        "state      failed, exit code 5",
        "command    hfaria pull org/name",
        "progress   50%: 500 B of 1.00 kB, 1 of 3 files",
        "limit      2M",
        "           no such repo",
    ):
        assert line in shown.splitlines()


def test_watched_jobs_are_one_moment_with_a_bar_for_each_that_runs() -> None:
    assert _joint([job(None, JobState.STARTING)]) is None
    assert _joint([job(REPORT, JobState.RUNNING)]) == HALF
    other = replace(COMMAND, job_id="efgh", title="org/other")
    joint = _joint([job(REPORT, JobState.RUNNING), Job(other, REPORT, JobState.DONE)])
    assert joint is not None
    assert (joint.held, joint.size, joint.files, joint.repos) == (1000, 2000, 6, 1)
    assert [each.label for each in joint.active] == ["abcd org/name"]
