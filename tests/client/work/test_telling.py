"""A notice that gives a secret away is found, and no other."""

import pytest

from client.work.notices import Finished, JobSeen, Notice, Started, Warned
from tests.client.work.telling import gives_away
from workunits.ids import JobId, UnitId
from workunits.models.request import pack_ids

JOB = JobId(bytes(32))
UNIT = UnitId(JOB, 0)
SECRET = 700_231


@pytest.mark.parametrize(
    "notice",
    [
        Warned(f"it asked [1, {SECRET}]"),
        Warned("it asked", hint=str((SECRET, 1))),
        JobSeen(JOB, "smollm2", SECRET),
        Started(UnitId(JOB, SECRET), {}),
        Started(UNIT, {"prompt": str(SECRET)}),
        Finished(UNIT, float(SECRET), "", b""),
        Finished(UNIT, 0.1, "", b"token %d" % SECRET),
        Finished(UNIT, 0.1, "", pack_ids((1, SECRET, 2))),
    ],
)
def test_a_secret_is_found_wherever_it_is_told(notice: Notice) -> None:
    assert gives_away([Warned("hello"), notice], {SECRET, SECRET + 1})


def test_digits_within_another_number_are_no_secret() -> None:
    seconds = 0.1700231
    assert str(SECRET) in repr(seconds)
    notices = [Finished(UNIT, seconds, f"{SECRET}0", b"9%d" % SECRET), JobSeen(JOB, "a", 10)]
    assert not gives_away(notices, {SECRET})
