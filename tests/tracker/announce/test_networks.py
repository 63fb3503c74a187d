"""Networks: which address is in which, and who has how many."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tracker.announce.networks import NOWHERE, Crowds, is_local, network_of


def of(text: str) -> int:
    return network_of(ip_address(text).packed + b"\x1a\xe1")


def test_a_network_is_a_24_or_a_48() -> None:
    assert of("203.0.113.1") == of("203.0.113.254") != of("203.0.114.1")
    assert of("2001:db8:1::1") == of("2001:db8:1:ffff::2") != of("2001:db8:2::1")
    assert network_of(ip_address("203.0.113.1").packed) == of("203.0.113.1")
    assert network_of(b"") == NOWHERE


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=18, max_size=18))
def test_no_ipv4_network_is_an_ipv6_one(v4: bytes, v6: bytes) -> None:
    assert len({NOWHERE, network_of(v4), network_of(v6)}) == 3


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "127.0.0.1", "169.254.1.1", "172.16.0.1", "172.31.255.1", "192.168.7.7"),
        *("100.64.0.1", "100.127.255.255", "::1", "fe80::1", "fd00::1", "fc00::1"),
    ],
)
def test_private_and_loopback_networks_are_local(address: str) -> None:
    assert is_local(of(address))


@pytest.mark.parametrize(
    "address",
    [
        *("9.255.255.255", "11.0.0.0", "126.0.0.1", "128.0.0.1", "172.15.0.1", "172.32.0.1"),
        *("192.167.0.1", "100.63.0.1", "100.128.0.1", "2001:db8::1", "fec0::1", "fe00::1"),
    ],
)
def test_other_networks_are_not(address: str) -> None:
    assert not is_local(of(address))


class Model(RuleBasedStateMachine):
    """The same steps on plain sets give the same sizes and the same largest."""

    def __init__(self) -> None:
        super().__init__()
        self.crowds = Crowds()
        self.expected: dict[int, set[int]] = {}
        self.next = 0

    @rule(network=st.integers(0, 4))
    def add(self, network: int) -> None:
        self.crowds.add(network, self.next)
        self.expected.setdefault(network, set()).add(self.next)
        self.next += 1

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        network = data.draw(st.sampled_from(sorted(self.expected)))
        member = data.draw(st.sampled_from(sorted(self.expected[network])))
        self.crowds.remove(network, member)
        self.expected[network].remove(member)
        if not self.expected[network]:
            del self.expected[network]

    @invariant()
    def they_agree(self) -> None:
        largest = max(map(len, self.expected.values()), default=0)
        assert self.crowds.largest == largest
        assert len(self.crowds) == len(self.expected)
        for network in range(5):
            members = self.expected.get(network, set())
            assert self.crowds.size(network) == len(members)
            assert set(self.crowds.members(network)) == members
            if members:
                assert self.crowds.one_of(network) in members
        crowded = self.crowds.crowded()
        if largest > 1:
            assert any(crowded in each and len(each) == largest for each in self.expected.values())
        else:
            assert crowded is None


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
