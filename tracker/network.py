"""Which network a peer comes from: who nobody vouches for belongs to it."""

import hashlib
import ipaddress

IPV4_PREFIX = 24
IPV6_PREFIX = 48
SIZE = 24
_DOMAIN = b"openswarm network v1\n"


def network_of(address: str | None, secret: bytes) -> bytes:
    """24 bytes that stand for the network of ``address``; empty where it says nothing.

    One customer commonly has at most an IPv4 /24 or an IPv6 /48 (RFC 6177). Private and loopback
    addresses are of people who know each other, or of a proxy. Hashed with ``secret``: the ledger
    is public, addresses are not.
    """
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return b""
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if not ip.is_global:
        return b""
    prefix = IPV4_PREFIX if ip.version == 4 else IPV6_PREFIX
    network = ipaddress.ip_network((ip, prefix), strict=False)
    return hashlib.sha256(_DOMAIN + secret + str(network).encode()).digest()[:SIZE]
