"""Addresses of engines."""

import socket


def is_listening(url: str) -> bool:
    """Whether somebody accepts connections at ``url``; true for what is not a UNIX socket.

    The docker package leaks the socket of every connection that is refused.
    """
    if not url.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(url.removeprefix("unix://"))
        except OSError:
            return False
    return True
