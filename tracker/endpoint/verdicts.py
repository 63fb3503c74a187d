"""The object ``swarm`` beside every answer: was it verified, by whom, and what it cost."""

from collections.abc import Sequence

from tracker.endpoint.parlour import Settled

UNVERIFIED: dict[str, object] = {"verified": False}
"""While the verdict is not there."""


def verdict(settled: Settled, corrected: str | None = None) -> dict[str, object]:
    """One answer's verdict. ``corrected`` is the text that stands, where another was shown."""
    told: dict[str, object] = {
        "verified": settled.verified,
        "same": settled.same,
        "validators": [key.hex() for key in settled.validators],
        "worker": settled.worker.hex(),
        "unit": f"{settled.unit.job.hex()}/{settled.unit.index}",
        "ledger_entry": settled.entry if settled.entry >= 0 else None,
        "cost": settled.cost,
    }
    if settled.reason:
        told["reason"] = settled.reason
    if corrected is not None:
        told |= {"corrected": True, "text": corrected}
    return told


def verdicts(told: Sequence[dict[str, object]]) -> dict[str, object]:
    """Of a request with several answers: all of them, and what holds for all."""
    if len(told) == 1:
        return dict(told[0])
    costs = [each["cost"] for each in told]
    return {
        "verified": all(each["verified"] for each in told),
        "same": all(each["same"] for each in told),
        "cost": sum(cost for cost in costs if isinstance(cost, int)),
        "choices": list(told),
    }
