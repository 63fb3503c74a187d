"""The table of a lease's life refuses what it does not list."""

import pytest

from client.scheduling.leases import Held, IllegalStepError, State, step
from tests.client.scheduling.machine import PLAIN
from tests.client.work.tracker import ref_of
from workunits.ids import LeaseToken


@pytest.mark.parametrize("over", [State.DONE, State.RELEASED, State.REVOKED])
def test_a_lease_that_is_over_takes_no_step(over: State) -> None:
    for to in State:
        with pytest.raises(IllegalStepError):
            step(Held(LeaseToken(1), PLAIN.id, 0, 0.0, over), to)


def test_guards_refuse_steps_that_skip_something() -> None:
    lease = Held(LeaseToken(1), PLAIN.id, 0, 0.0, State.COMMITTED)
    with pytest.raises(IllegalStepError):
        step(lease, State.REVEALING)  # nobody asked
    lease.state = State.STORING
    with pytest.raises(IllegalStepError):
        step(lease, State.COMPUTED)  # no digest
    lease.state, lease.missing = State.FETCHING, {ref_of(1)}
    with pytest.raises(IllegalStepError):
        step(lease, State.READY)
