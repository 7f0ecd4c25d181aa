"""Jobs as their user meets them: begun in one terminal, looked at and steered from another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from hfaria.rules.job_file import parse_report
from loopback_hub import GOOD_TOKEN, Fault, Refuse, Shape
from support.cli import User, is_alive, refused, user_of, wait_until
from support.repos import model, one_file
from support.trees import assert_holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopback_hub import LoopbackHub

pytestmark = pytest.mark.aria2

SIZE = 40_000_000
LARGE = one_file(size=SIZE)
LINE = Shape(rate_total=4e6)


@pytest.fixture
def user(hub: LoopbackHub, tmp_path: Path) -> Iterator[User]:
    """Somebody whose jobs end with the test."""
    hub.put_repo(LARGE)
    hub.put_repo(model())
    hub.shape("cdn", LINE)
    somebody = user_of(hub, tmp_path / "home").having(HFARIA_STATE_DIR=str(tmp_path / "state"))
    yield somebody
    for job in jobs_of(somebody):
        if job["pid"] is not None:
            kill(job["pid"])


def jobs_of(user: User) -> list[dict[str, Any]]:
    run = user.run("status", "--json")
    assert run.code == 0, run.stderr
    jobs: list[dict[str, Any]] = run.document["jobs"]
    return jobs


def job_of(user: User, job_id: str) -> dict[str, Any]:
    (job,) = [job for job in jobs_of(user) if job["job"] == job_id]
    return job


def detached(user: User, *arguments: str) -> str:
    run = user.run(*(arguments or ("pull", "org/one")), "--detach")
    assert run.code == 0, run.stderr
    return run.stdout.strip()


def kill(pid: int) -> None:
    """End a job's process as a power cut does, its engine included."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    for each in family:
        each.kill()
    wait_until(lambda: not any(is_alive(each) for each in family))


def wait_for_state(user: User, job_id: str, *states: str) -> dict[str, Any]:
    """Wait until a job is in a state."""
    found: dict[str, Any] = {}

    def has_come() -> bool:
        found.update(job_of(user, job_id))
        return found["state"] in states

    wait_until(has_come)
    return found


def test_a_job_goes_on_by_itself_and_is_seen_from_elsewhere(hub: LoopbackHub, user: User) -> None:
    run = user.run("pull", "org/one", "--detach")
    job_id = run.stdout.strip()
    assert run.code == 0
    assert f"job {job_id} began: org/one" in run.stderr
    log = Path(user.settings["HFARIA_STATE_DIR"]) / "jobs" / job_id / "log"
    assert f"log: {log}" in run.stderr
    wait_until(lambda: (job_of(user, job_id)["held"] or 0) > 0)
    job = job_of(user, job_id)
    assert job["state"] == "running"
    assert os.getsid(job["pid"]) == job["pid"] != os.getsid(0)
    table = user.run("status").stdout.splitlines()
    assert table[0].split() == ["JOB", "STATE", "%", "RATE", "LEFT", "WHAT"]
    assert table[1].split()[:2] == [job_id, "running"]
    one = user.run("status", job_id).stdout
    assert "command    hfaria pull org/one --detach" in one
    hub.shape("cdn", Shape())
    watched = user.run("status", "--watch")
    assert watched.code == 0
    assert f"{job_id}  done" in watched.stdout
    done = job_of(user, job_id)
    assert (done["state"], done["percent"], done["exit_code"]) == ("done", 100, 0)
    assert_holds(user.pulled("org/one").path, LARGE)
    assert "fetched and verified 40.0 MB" in user.run("logs").stdout
    assert user.run("status", "--clear").stdout == "forgotten: 1 job\n"
    assert jobs_of(user) == []


def test_nothing_moves_while_a_job_is_paused_and_it_goes_on_where_it_was(
    hub: LoopbackHub, user: User
) -> None:
    job_id = detached(user, "pull", "org/one", "-x", "2")
    process = psutil.Process(job_of(user, job_id)["pid"])
    wait_until(lambda: hub.file_bytes_sent() > 12_000_000)
    asked = user.run("pause")
    assert asked.code == 0
    assert f"job {job_id} is paused at " in asked.stderr
    wait_until(lambda: not is_alive(process))
    sent = hub.file_bytes_sent()
    time.sleep(0.05)
    paused = job_of(user, job_id)
    assert hub.file_bytes_sent() == sent
    assert (paused["state"], paused["rate"]) == ("paused", None)
    assert 0 < paused["percent"] < 100
    assert refused(user.run("pause", job_id), 2) == f"job `{job_id}` does not run: it is paused"
    assert f"job {job_id} goes on" in user.run("resume").stderr
    hub.shape("cdn", Shape())
    wait_for_state(user, job_id, "done")
    # What comes while the engine takes its leave is lost; the 12 MB that were here would be 1.3.
    assert hub.file_bytes_sent() <= 1.15 * SIZE
    assert "paused; `hfaria resume" in user.run("logs", job_id).stdout


def test_a_job_that_was_stopped_goes_on_only_by_its_name(hub: LoopbackHub, user: User) -> None:
    job_id = detached(user)
    stopped = user.run("stop", job_id)
    assert stopped.code == 0
    job = job_of(user, job_id)
    assert (job["state"], job["exit_code"]) == ("stopped", 130)
    assert user.run("resume").stderr == "nothing to resume\n"
    assert "is stopped already" in user.run("stop", job_id).stderr
    hub.shape("cdn", Shape())
    assert user.run("resume", job_id).code == 0
    wait_for_state(user, job_id, "done")
    assert "is done: there is nothing to continue" in refused(user.run("resume", job_id), 2)


def test_a_killed_job_is_told_as_cut_and_continued_with_the_rest(
    hub: LoopbackHub, user: User
) -> None:
    job_id = detached(user, "pull", "org/one", "-x", "2")
    wait_until(lambda: hub.file_bytes_sent() > 15_000_000)
    kill(job_of(user, job_id)["pid"])
    cut = job_of(user, job_id)
    assert (cut["state"], cut["pid"], cut["exit_code"]) == ("cut", None, None)
    table = user.run("status")
    assert "no sign of it after" in table.stdout
    assert "hint: `hfaria resume` continues what was cut" in table.stderr
    hub.shape("cdn", Shape())
    assert f"job {job_id}" in user.run("resume").stderr
    wait_for_state(user, job_id, "done")
    assert_holds(user.pulled("org/one").path, LARGE)
    # What was on its way is lost: sockets hold some hundred kB for each connection.
    assert hub.file_bytes_sent() <= 1.15 * SIZE


def test_after_a_reboot_a_pid_that_is_another_process_is_not_believed(
    hub: LoopbackHub, user: User
) -> None:
    job_id = detached(user)
    state = Path(user.settings["HFARIA_STATE_DIR"]) / "jobs" / job_id / "state.json"
    kill(job_of(user, job_id)["pid"])
    # As after a reboot: the pid is that of a process that lives, begun in another boot.
    told = json.loads(state.read_text(encoding="utf-8"))
    told["process"] = {"pid": os.getpid(), "started": "1", "boot_id": "another"}
    state.write_text(json.dumps(told), encoding="utf-8")
    assert parse_report(state.read_text(encoding="utf-8")) is not None
    assert job_of(user, job_id)["state"] == "cut"
    # Nobody is killed by mistake.
    assert user.run("stop", job_id).code == 0
    assert psutil.pid_exists(os.getpid())
    assert job_of(user, job_id)["state"] == "stopped"
    hub.shape("cdn", Shape())
    assert user.run("resume", job_id).code == 0
    wait_for_state(user, job_id, "done")


def test_a_shutdown_of_the_machine_leaves_a_job_that_resume_continues(
    hub: LoopbackHub, user: User
) -> None:
    job_id = detached(user)
    process = psutil.Process(job_of(user, job_id)["pid"])
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_alive(process))
    assert job_of(user, job_id)["state"] == "cut"
    # Nobody is at the keyboard then, and nothing of the terminal's environment is there.
    hub.shape("cdn", Shape())
    bare = {
        name: value
        for name, value in user.environ.items()
        if name in {"PATH", "HOME", "HFARIA_STATE_DIR"}
    }
    command = [sys.executable, "-m", "hfaria", "resume"]
    subprocess.run(command, env=bare, cwd="/", check=True, capture_output=True)
    wait_for_state(user, job_id, "done")
    assert_holds(user.pulled("org/one").path, LARGE)


def test_a_rate_is_changed_while_bytes_move_and_stays_over_a_pause(
    hub: LoopbackHub, user: User
) -> None:
    hub.shape("cdn", Shape(rate_total=2e6))
    job_id = detached(user)
    limited = user.run("limit", "200k", job_id)
    assert limited.stderr == f"job {job_id}: 200k from now on\n"
    # What the job takes in, as it tells it: the hub's count runs ahead by what its sockets hold.
    wait_until(lambda: "rate limit 200 kB/s" in user.run("logs", job_id).stdout)
    wait_until(lambda: 0 < (job_of(user, job_id)["rate"] or 0) < 300_000)
    assert user.run("pause").code == 0
    assert user.run("resume").code == 0
    wait_until(lambda: user.run("logs", job_id).stdout.count("rate limit 200 kB/s") == 2)
    assert job_of(user, job_id)["limit_rate"] == "200k"
    hub.shape("cdn", Shape())
    user.run("limit", "0")
    wait_for_state(user, job_id, "done")
    assert "is not a rate" in refused(user.run("limit", "fast"), 2)


def test_a_job_says_what_it_waits_for_and_since_when(hub: LoopbackHub, user: User) -> None:
    job_id = detached(user)
    wait_until(lambda: hub.file_bytes_sent() > 1_000_000)
    fault = Fault(Refuse(), site="cdn")
    hub.faults.add(fault)
    job = wait_for_state(user, job_id, "waiting")
    assert job["waiting_for"]
    assert job["waiting_since"] >= job["began_at"]
    assert "since " in user.run("status").stdout
    hub.faults.remove(fault)
    hub.shape("cdn", Shape())
    wait_for_state(user, job_id, "done")


def test_a_second_job_on_a_repo_says_so_and_leaves_the_first_alone(
    hub: LoopbackHub, user: User
) -> None:
    first = detached(user)
    run = user.run("pull", "org/one", "--detach")
    assert "another pull into" in refused(run, 7)
    assert [job["state"] for job in jobs_of(user)] == ["running", "failed"]
    assert f"job {first} runs already" in refused(user.run("resume", first), 3)


def test_a_job_that_fails_at_once_ends_the_command_with_its_error(user: User) -> None:
    run = user.run("pull", "org/missing", "--detach")
    assert "no public model `org/missing`" in refused(run, 5)
    (job,) = jobs_of(user)
    assert (job["state"], job["exit_code"]) == ("failed", 5)
    assert "org/missing" in job["error"]


def test_a_preload_is_a_job_as_well(hub: LoopbackHub, user: User) -> None:
    manifest = user.home / "hfaria.toml"
    manifest.write_text('[[repo]]\nid = "org/model"\n\n[[repo]]\nid = "org/one"\n', "utf-8")
    run = user.run("preload", str(manifest), "--detach", "--json")
    job_id = run.document["job"]
    assert Path(run.document["log"]).is_file()
    user.run("stop", job_id)
    hub.shape("cdn", Shape())
    user.run("resume", job_id)
    assert wait_for_state(user, job_id, "done")["title"] == str(manifest)


def test_no_token_is_written_down_and_the_job_has_it_nevertheless(
    hub: LoopbackHub, user: User
) -> None:
    hub.put_repo(model("org/private", private=True))
    hub.shape("cdn", Shape())
    error = refused(user.run("pull", "org/private", "--token", GOOD_TOKEN, "--detach"), 2)
    assert error.startswith("`--detach` and `--token` can't be used together")
    error = refused(user.run("pull", "org/private", "--dry-run", "--detach"), 2)
    assert error == "`--detach` and `--dry-run` can't be used together"
    knowing = user.having(HF_TOKEN=GOOD_TOKEN)
    job_id = detached(knowing, "pull", "org/private")
    wait_for_state(user, job_id, "done")
    written = [path for path in user.home.parent.rglob("*") if path.is_file()]
    assert not [path for path in written if GOOD_TOKEN.encode() in path.read_bytes()]


def test_rubbish_among_the_states_is_told_and_can_be_cleared(hub: LoopbackHub, user: User) -> None:
    job_id = detached(user)
    jobs = Path(user.settings["HFARIA_STATE_DIR"]) / "jobs"
    (jobs / "rubbish").mkdir()
    (jobs / "rubbish" / "job.json").write_bytes(b"\x00\xff{")
    (jobs / job_id / "wish").write_text("dance", encoding="utf-8")
    run = user.run("status")
    assert run.code == 0
    assert f"warning: what is written in `{jobs / 'rubbish'}` can't be understood" in run.stderr
    assert "can't be understood" in refused(user.run("resume", "rubbish"), 2)
    user.run("pause")
    (jobs / job_id / "state.json").write_bytes(b"{")
    assert job_of(user, job_id)["state"] in {"starting", "cut"}
    hub.shape("cdn", Shape())
    assert user.run("resume", job_id).code == 0
    wait_for_state(user, job_id, "done")
    assert user.run("status", "--clear").stdout == "forgotten: 2 jobs\n"
    assert [*jobs.iterdir()] == []


def test_a_state_folder_that_takes_nothing_is_told_before_anything_begins(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    nowhere = user.having(HFARIA_STATE_DIR=str(tmp_path / "file"))
    run = nowhere.run("pull", "org/one", "--detach")
    assert f"`{tmp_path}/file/jobs`" in refused(run, 7)
    assert "HFARIA_STATE_DIR" in run.hint
    assert hub.file_bytes_sent() == 0
    assert user.run("status", "nope").code == 2


def test_a_job_goes_on_though_its_state_is_gone(hub: LoopbackHub, user: User) -> None:
    job_id = detached(user)
    shutil.rmtree(Path(user.settings["HFARIA_STATE_DIR"]) / "jobs" / job_id)
    assert jobs_of(user) == []
    hub.shape("cdn", Shape())
    ref = user.cache / "models--org--one" / "refs" / "main"
    wait_until(ref.exists)
    assert_holds(user.pulled("org/one").path, LARGE)


def test_a_job_runs_where_it_began_and_says_if_that_is_gone(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    # A file of the user's that has the name of a module is not imported.
    (place / "click.py").write_text("raise SystemExit(99)", encoding="utf-8")
    program = (
        f"import os, sys, click; from hfaria.cli import main; os.chdir({str(place)!r}); "
        "sys.argv[1:] = ['pull', 'org/one', '--local-dir', 'here', '--detach']; main()"
    )
    job_id = user.python(program)
    user.run("stop", job_id)
    place.rename(tmp_path / "elsewhere")
    assert f"the job's folder `{place}`" in refused(user.run("resume", job_id), 7)
    (tmp_path / "elsewhere").rename(place)
    hub.shape("cdn", Shape())
    assert user.run("resume", job_id).code == 0
    wait_for_state(user, job_id, "done")
    assert_holds(place / "here", LARGE)
