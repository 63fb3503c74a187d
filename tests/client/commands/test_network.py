"""The options that say how a command may use the network."""

import click
import pytest
from click.testing import CliRunner

from client.commands.network import network_options
from client.peers.network import Network, TcpPolicy
from client.peers.throttle import Rates


def network_of(*arguments: str) -> Network:
    seen: list[Network] = []

    @click.command()
    @network_options
    def probe(network: Network) -> None:
        """Note the settings."""
        seen.append(network)

    outcome = CliRunner().invoke(probe, arguments)
    if outcome.exit_code:
        raise click.UsageError(outcome.output)
    return seen[0]


def test_commands_look_for_local_peers_and_encrypt_what_leaves_the_network() -> None:
    assert network_of() == Network(local=True)


def test_every_setting_has_an_option() -> None:
    told = network_of("--tcp", "always", "--port", "6881", "--no-local", "--up", "2MiB")
    assert told == Network(TcpPolicy.ALWAYS, 6881, limits=Rates(up=2 * 1024 * 1024))
    hidden = network_of("--relay-only", "--tcp", "always", "--down", "1000")
    assert hidden.relay_only and hidden.limits == Rates(down=1000) and not hidden.dials


@pytest.mark.parametrize(
    "arguments", [("--up", "0"), ("--down", "fast"), ("--tcp", "yes"), ("--port", "70000")]
)
def test_nonsense_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        network_of(*arguments)
