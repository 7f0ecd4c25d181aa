"""A bundle of repos that are not cached yet: planned, pulled, written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfaria.errors import PreflightFailed
from hfaria.rules.bundle_plan import LEAST_RESERVE
from loopback_hub import GOOD_TOKEN, Generated, repo
from support.bundles import MIB, Writer, assert_valid, assert_whole, documents, sized, stick_folders
from support.cli import wait_until
from support.repos import model

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub
    from support.cli import User

pytestmark = pytest.mark.aria2


def test_what_the_cache_lacks_is_pulled_first(hub: LoopbackHub, user: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    spec = model()
    hub.put_repo(spec)
    hub.put_repo(repo("org/data", {"train.csv": b"a,b\n"}, repo_type="dataset"))
    run = user.run("bundle", "create", "org/model", "datasets/org/data", "--to", str(place))
    assert run.code == 0, run.stderr
    assert "to pull first: 5.30 MB" in run.stderr
    bag = Path(run.stdout.strip())
    assert_valid(bag)
    assert_whole([bag])
    bundle, _ = documents(bag)
    assert [repo.refs for repo in bundle.repos if repo.repo_type == "model"] == [
        {"main": spec.commit_id}
    ]
    assert bundle.endpoint == user.origin
    # And nothing is fetched a second time.
    sent = hub.file_bytes_sent()
    assert user.run("bundle", "create", "org/model", "--to", str(place)).code == 0
    assert hub.file_bytes_sent() == sent


def test_nothing_is_pulled_for_a_bundle_that_does_not_fit(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    hub.put_repo(model())
    probe = sized("exfat", {place: LEAST_RESERVE + 4 * MIB})
    with pytest.raises(PreflightFailed, match="E-SPACE"):
        Writer(user).create(["org/model"], [place], probe=probe)
    assert hub.file_bytes_sent() == 0
    assert list(place.iterdir()) == []
    plan = user.run("bundle", "create", "org/model", "--to", str(place), "--plan-only", "--json")
    assert plan.document["set_id"] is None
    assert plan.document["repos"][0]["bytes_to_fetch"] == plan.document["size"]
    assert hub.file_bytes_sent() == 0


def test_a_branch_that_moves_while_sticks_are_written_does_not_mix_commits(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    old = repo("org/moving", {"model.safetensors": Generated(1, 40 * MIB), "a.txt": b"1"})
    hub.put_repo(old)
    command = ["bundle", "create", "org/moving", "--to", str(place), "-q"]
    user.pulled("org/moving", "-q")
    running = user.start(*command)
    wait_until(lambda: bool(list(place.glob("hfb-*/data/**/*.tmp"))) or running.has_ended)
    running.kill()
    hub.put_repo(repo("org/moving", {"model.safetensors": Generated(2, MIB), "a.txt": b"2"}))
    again = user.run(*command)
    assert again.code == 0, again.stderr
    bag = Path(again.stdout.strip())
    assert_valid(bag)
    bundle, _ = documents(bag)
    assert list(bundle.repos[0].revisions) == [old.commit_id]


def test_a_gated_repo_needs_the_token_and_the_stick_does_not_have_it(
    hub: LoopbackHub, user: User, tmp_path: Path
) -> None:
    (place,) = stick_folders(tmp_path, 1)
    hub.put_repo(model(gated="manual"))
    refused = user.run("bundle", "create", "org/model", "--to", str(place))
    assert refused.code == 5
    token = tmp_path / "token"
    token.write_text(GOOD_TOKEN)
    run = user.run(
        "bundle", "create", "org/model", "--to", str(place), "--token-file", str(token), "-q"
    )
    assert run.code == 0, run.stderr
    texts = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
    assert not [text for text in texts if GOOD_TOKEN.encode() in text]


def test_a_hub_that_is_out_of_reach_is_said_with_what_to_do(user: User, tmp_path: Path) -> None:
    (place,) = stick_folders(tmp_path, 1)
    config = tmp_path / "config.toml"
    config.write_text("patience = 2\n", encoding="utf-8")
    away = user.having(
        HF_ENDPOINT="http://127.0.0.1:9",
        HFARIA_ORIGIN="http://127.0.0.1:9",
        HFARIA_CONFIG=str(config),
    )
    run = away.run("bundle", "create", "org/model", "--to", str(place))
    assert run.code == 5
    assert "HF_HUB_OFFLINE=1 bundles what the cache has" in run.hint
