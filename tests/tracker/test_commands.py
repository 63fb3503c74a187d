"""``swarm tracker``: what an operator types, and what it answers."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.tracker.serving import served
from tests.tracker.work.world import SUBMITTER
from tracker.address import ADDRESS_FILE, Address, operator_identity
from tracker.commands import tracker as command
from workunits.errors import LocalError, MalformedError, SwarmError, UnavailableError
from workunits.wire.handshake import Vouch

KEY = SUBMITTER.key.hex()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def grant(data: Path, *arguments: str) -> Result:
    return run("grant", *arguments, "--data", str(data))


async def test_a_grant_is_minted_by_the_running_tracker(tmp_path: Path) -> None:
    async with served(tmp_path):
        result = await asyncio.to_thread(grant, tmp_path, KEY, "1500")
        assert result.exit_code == 0, result.output
        assert result.output == f"Minted 1,500 credits for {KEY[:12]}; it has 1,500 now.\n"
        result = await asyncio.to_thread(grant, tmp_path, KEY, "5", "--json")
        assert json.loads(result.output) == {"account": KEY, "amount": 5, "balance": 1505}


def test_without_a_tracker_a_grant_says_how_to_start_one(tmp_path: Path) -> None:
    error = grant(tmp_path, KEY, "5").exception
    assert isinstance(error, UnavailableError)
    assert "no tracker is running" in error.message
    assert f"swarm tracker serve --data {tmp_path}" in error.hint
    (tmp_path / ADDRESS_FILE).write_text("http://127.0.0.1:1\n")
    error = grant(tmp_path, KEY, "5").exception
    assert isinstance(error, UnavailableError)
    assert "does not answer" in error.message


@pytest.mark.parametrize("arguments", [(KEY, "0"), (KEY, "-5"), (KEY, "x"), (KEY,)])
def test_an_amount_is_a_number_of_one_or_more(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert grant(tmp_path, *arguments).exit_code == 2


def test_a_key_is_64_hex_digits(tmp_path: Path) -> None:
    error = grant(tmp_path, "abc", "5").exception
    assert isinstance(error, MalformedError)
    assert isinstance(error, SwarmError)


@pytest.mark.parametrize("address", ["nowhere", "host:", "host:99999", "host:-1", ":x"])
def test_an_address_is_a_host_and_a_port(tmp_path: Path, address: str) -> None:
    result = run("serve", "--listen", address, "--data", str(tmp_path))
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.output


def test_a_vouch_is_the_operators_for_one_peer(tmp_path: Path) -> None:
    operator = operator_identity(tmp_path)
    result = run("vouch", KEY, "--data", str(tmp_path))
    assert result.exit_code == 0, result.output
    made = Vouch.parse_line(result.output)
    made.check(SUBMITTER.key)
    assert made.owner == operator.key
    shown = json.loads(run("vouch", KEY, "--data", str(tmp_path), "--json").output)
    assert shown == {"owner": operator.key.hex(), "peer": KEY, "vouch": result.output.strip()}


def test_nobody_vouches_where_there_is_no_tracker(tmp_path: Path) -> None:
    error = run("vouch", KEY, "--data", str(tmp_path)).exception
    assert isinstance(error, LocalError)
    assert "--data" in error.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("serve",), ("grant",), ("vouch",)])
def test_every_command_has_an_example_and_names_its_variables(arguments: tuple[str, ...]) -> None:
    text = run(*arguments, "--help").output
    assert "Example:" in text
    assert "SWARM_TRACKER_DATA" in text


def test_a_listening_address_keeps_ipv6_apart() -> None:
    assert Address("::1", 8400).url == "http://[::1]:8400"
