"""The tracker's own process, as its operator starts it."""

import stat

from tests.client.commands.conftest import Tracker


def test_nobody_else_on_the_machine_can_read_what_a_tracker_keeps(tracker: Tracker) -> None:
    kept = [path for path in tracker.data.rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {"tracker.sqlite", "operator.key"}
    assert [path for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
