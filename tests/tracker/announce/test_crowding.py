"""Sockets of one network: they do not take the places of others."""

from typing import Any

import pytest

from tracker.announce import handlers
from tracker.announce.handlers import AnnounceService
from workunits.errors import LimitError


async def test_a_network_has_its_share_of_the_sockets(monkeypatch: Any) -> None:
    monkeypatch.setattr(handlers, "MAX_NETWORK_SOCKETS", 3)
    service = AnnounceService()
    opened = [service.open("/announce", f"203.0.113.{host}") for host in range(3)]
    with pytest.raises(LimitError, match="your network") as caught:
        service.open("/announce", "203.0.113.9")
    assert caught.value.hint
    service.open("/announce", "203.0.114.9")
    for _ in range(5):
        service.open("/announce", "127.0.0.1")
    service.gone(opened[0])
    service.gone(opened[0])
    service.open("/announce", "203.0.113.9")
    with pytest.raises(LimitError):
        service.open("/announce", "203.0.113.10")
