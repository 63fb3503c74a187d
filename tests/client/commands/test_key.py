"""Keys and vouches on the command line."""

from dataclasses import replace
from pathlib import Path

import pytest

from client import keys
from tests.client.commands.shell import Shell
from workunits.ids import PeerKey


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """The owner; nothing here needs a tracker."""
    return Shell(tmp_path / "owner", "http://127.0.0.1:1")


@pytest.fixture
def peer(shell: Shell, tmp_path: Path) -> Shell:
    """Another machine of the owner."""
    return replace(shell, home=tmp_path / "peer")


def test_a_peer_takes_the_vouch_of_its_owner(shell: Shell, peer: Shell) -> None:
    vouch = shell.good("key", "vouch", peer.key()).out.strip()
    assert peer.good("key", "accept", vouch, "--json").json["owner"] == shell.key()
    kept = keys.load_vouch(peer.home / "vouch", PeerKey(bytes.fromhex(peer.key())))
    assert kept is not None
    assert kept.owner.hex() == shell.key()


def test_a_vouch_for_another_peer_is_refused_with_the_command_to_ask_for(
    shell: Shell, peer: Shell
) -> None:
    vouch = shell.good("key", "vouch", shell.key(), "--json").json["vouch"]
    said = peer.run("key", "accept", vouch)
    assert said.status == 1
    assert "another peer" in said.err
    assert f"swarm key vouch {peer.key()}" in said.err
    assert not (peer.home / "vouch").exists()


def test_a_second_vouch_does_not_overwrite_the_first(shell: Shell, peer: Shell) -> None:
    vouch = shell.good("key", "vouch", peer.key()).out.strip()
    peer.good("key", "accept", vouch)
    said = peer.run("key", "accept", vouch)
    assert said.status == 1
    assert "exists already" in said.err


@pytest.mark.parametrize("text", ["", "zz", "le", "6c65", "00" * 600])
def test_what_is_not_a_vouch_is_refused(peer: Shell, text: str) -> None:
    said = peer.run("key", "accept", text)
    assert said.status == 1
    assert "is not a vouch" in said.err


def test_what_is_not_a_key_cannot_be_vouched_for(shell: Shell) -> None:
    said = shell.run("key", "vouch", "9c41")
    assert said.status != 0
    assert "PEER" in said.err
