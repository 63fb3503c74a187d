"""``swarm key``: who you are, and which peers are yours."""

import sys

import click

from client import terminal
from client.commands.invocation import Invocation, command
from workunits.ids import PeerKey, parse_hash, short


@click.group()
def key() -> None:
    """Your key: the name of your account and of your peer."""


@command(examples=("swarm key show", "swarm key show --json | jq -r .key"), tracker=False, key=True)
def show(call: Invocation) -> None:
    """Show your public key. A key is made if there is none.

    The key file is the account: who has it can spend its credits. Keep a copy in a safe place.
    """
    identity = call.identity()
    if call.json:
        terminal.show_json({"key": identity.key.hex(), "file": call.config.key})
        return
    click.echo(identity.key.hex())
    call.note(f"kept in {call.config.key}")


@command(
    examples=(
        "swarm key vouch 9c41d2...",
        "swarm key vouch $(ssh lab2 swarm key show) | ssh lab2 swarm key accept -",
    ),
    tracker=False,
    key=True,
)
@click.argument("peer")
def vouch(call: Invocation, peer: str) -> None:
    """Say that PEER, a key of 64 hex digits, is yours too. That machine takes it with `accept`.

    Two peers of one owner never check each other. Whoever shares a lab, a room or a person
    should have one owner, or the checks of its peers on each other are worth nothing.
    """
    from workunits.wire.handshake import Vouch

    identity = call.identity()
    made = Vouch.sign(identity, PeerKey(parse_hash(peer.strip(), "PEER")))
    if call.json:
        terminal.show_json({"owner": identity.key.hex(), "peer": peer, "vouch": made.line()})
    else:
        click.echo(made.line())


@command(examples=("swarm key accept 6c32303a...", "swarm key accept - < vouch"), tracker=False)
@click.argument("vouch")
def accept(call: Invocation, vouch: str) -> None:
    """Take the VOUCH of your owner.

    With - it is read from standard input. Volunteers show it from their next start.
    """
    from client import keys

    text = sys.stdin.read(keys.MAX_FILE) if vouch == "-" else vouch
    path = call.config.home / "vouch"
    made = keys.parse_vouch(text, call.identity().key, "this")
    keys.save_vouch(path, made)
    if call.json:
        terminal.show_json({"owner": made.owner.hex(), "file": path})
    else:
        call.note(f"owner {short(made.owner)}, kept in {path}")


for each, name in ((show, "show"), (vouch, "vouch"), (accept, "accept")):
    key.add_command(each, name)
