"""``swarm tracker``: what an operator types, and what it answers."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.tracker.serving import served
from tests.tracker.work.world import SUBMITTER
from tracker.address import ADDRESS_FILE, Address, operator_identity
from tracker.announce.admission import Mode
from tracker.commands import tracker as command
from tracker.settings import Settings
from workunits.errors import LocalError, MalformedError, SwarmError, UnavailableError
from workunits.passes import SignedPass
from workunits.statements import Register
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


@pytest.mark.parametrize(
    "arguments", [("serve",), ("grant",), ("vouch",), ("member",), ("passkey",)]
)
def test_every_command_has_an_example_and_names_its_variables(arguments: tuple[str, ...]) -> None:
    text = run(*arguments, "--help").output
    assert "Example:" in text
    assert "SWARM_TRACKER_DATA" in text


def test_a_listening_address_keeps_ipv6_apart() -> None:
    assert Address("::1", 8400).url == "http://[::1]:8400"


async def test_a_passkey_admits_until_it_is_revoked(tmp_path: Path) -> None:
    async with served(tmp_path, settings=Settings(Mode.MEMBERS)) as tracker:
        await tracker.say(tracker.sign(Register(b"h" * 20, b"", 1, "x")))
        printed = await asyncio.to_thread(run, "passkey", KEY, "--data", str(tmp_path))
        assert printed.exit_code == 0, printed.output
        url = printed.output.strip()
        assert url.startswith(f"{tracker.url}/announce/")
        query = f"?info_hash={'h' * 20}&peer_id={'p' * 20}&port=1"
        target = url.removeprefix(tracker.url) + query
        assert b"5:peers" in await tracker.fetch(target)
        shown = await asyncio.to_thread(run, "passkey", KEY, "--data", str(tmp_path), "--json")
        assert json.loads(shown.output)["announce"] not in (None, url)
        assert b"not valid" in await tracker.fetch(target)
        await asyncio.to_thread(run, "passkey", KEY, "--revoke", "--data", str(tmp_path))
        again = json.loads(shown.output)["announce"].removeprefix(tracker.url) + query
        assert b"not valid" in await tracker.fetch(again)


async def test_the_operator_admits_members_and_turns_them_out(tmp_path: Path) -> None:
    async with served(tmp_path, settings=Settings(Mode.MEMBERS)) as tracker:
        await tracker.say(tracker.sign(Register(b"h" * 20, b"", 1, "x")))
        signed = SignedPass.query(SUBMITTER, int(time.time()) + 60, tracker.running.identity.key)
        target = f"/announce?info_hash={'h' * 20}&peer_id={'p' * 20}&port=1&{signed}"
        assert b"is no member" in await tracker.fetch(target)
        said = await asyncio.to_thread(run, "member", KEY, "--data", str(tmp_path))
        assert said.output == f"{KEY[:12]} is a member now.\n"
        assert b"5:peers" in await tracker.fetch(target)
        said = await asyncio.to_thread(run, "member", KEY, "--revoke", "--data", str(tmp_path))
        assert said.output == f"{KEY[:12]} is no member any more.\n"
        assert b"is no member" in await tracker.fetch(target)
        await tracker.grant(SUBMITTER.key)
        assert b"is no member" in await tracker.fetch(target)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--stun", "turn:x:1"), "--stun"),
        (("--turn", "http://x"), "--turn"),
        (("--turn", "turn:x:1"), "go together"),
        (("--public", "x"), "--public"),
        (("--udp", "nowhere"), "is not HOST:PORT"),
        (("--mode", "closed"), "--mode"),
        (("--stun", "stun:x") * 9, "more than 8"),
    ],
)
def test_what_cannot_be_served_is_said_before_serving(
    tmp_path: Path, arguments: tuple[str, ...], wrong: str
) -> None:
    result = run("serve", "--data", str(tmp_path), *arguments)
    assert result.exit_code == 2
    assert wrong in result.output


def test_a_secret_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for _ in range(2):
        error = run(
            *("serve", "--data", str(tmp_path), "--turn", "turn:x"),
            *("--turn-secret-file", str(file)),
        ).exception
        assert isinstance(error, LocalError)
        assert "static-auth-secret" in error.hint
        file.write_text("\n")
