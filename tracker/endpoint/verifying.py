"""The header ``X-Swarm-Verify``: whether anything is shown before its verdict."""

from collections.abc import Mapping, Sequence

from tracker.endpoint.errors import RETRY_SECONDS, ApiError, Fault, invalid
from tracker.endpoint.inquiry import Outcome

HEADER = "X-Swarm-Verify"
BEFORE = "before"
AFTER = "after"


def verified_only(headers: Mapping[str, str]) -> bool:
    """Whether only a verified answer is wanted. Raises ``ApiError``."""
    value = headers.get(HEADER, AFTER).strip().lower()
    if value not in (BEFORE, AFTER):
        raise invalid(
            f"{HEADER} is 'before' (show nothing that is not verified) or 'after' (the default); "
            "an answer that is never verified is not offered",
            HEADER,
        )
    return value == BEFORE


def require_verified(outcomes: Sequence[Outcome]) -> None:
    """Raise ``ApiError`` unless every answer was verified."""
    for outcome in outcomes:
        if not outcome.settled.verified:
            reason = outcome.settled.reason or "nobody could check it in time"
            raise ApiError(
                Fault.ABSENT,
                f"The answer was not verified: {reason}. Try again, or without {HEADER}.",
                tag="unverified",
                seconds=RETRY_SECONDS,
            )
