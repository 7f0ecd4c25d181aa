"""Random histories of faults, each survived in one run; `scripts/soak/run faults` has more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from soak.histories import make_history
from soak.one_history import Verdict, live_through

if TYPE_CHECKING:
    from pathlib import Path

_HISTORIES = 50
_AT_ONCE = 5


@pytest.mark.aria2
@pytest.mark.timeout(180)
@pytest.mark.parametrize("first", range(0, _HISTORIES, _AT_ONCE))
def test_no_history_of_faults_breaks_a_promise(first: int, tmp_path: Path) -> None:
    def live(seed: int) -> Verdict:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return live_through(make_history(seed), folder)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = list(pool.map(live, range(first, first + _AT_ONCE)))
    broken = [line for verdict in verdicts if verdict.broken for line in ("", *verdict.lines())]
    assert not broken, "\n".join(broken)


def test_a_seed_makes_the_same_history_again() -> None:
    assert make_history(11).lines() == make_history(11).lines()
    assert make_history(11).lines() != make_history(12).lines()
