"""The ledger from a user's side: verify, export, transfer; and what a lying tracker gets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from client.ledger import SEEN, Seen
from tests.client.commands.shell import BARE, Shell
from workunits.archive import Items, frame
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.ids import PeerKey
from workunits.signing import Identity


def items(file: Path) -> list[bytes]:
    """The parts of a ledger file."""
    return list(Items().feed(file.read_bytes()))


def write(file: Path, parts: list[bytes]) -> Path:
    """Write a ledger file."""
    file.write_bytes(b"".join(map(frame, parts)))
    return file


@pytest.fixture
def exported(rich_shell: Shell, tmp_path: Path) -> Path:
    """The ledger of a tracker that minted, and has a job and a transfer."""
    rich_shell.good("submit", rich_shell.job_file(BARE))
    rich_shell.good("transfer", "ab" * 32, "5")
    file = tmp_path / "books.swl"
    rich_shell.good("ledger", "export", file)
    return file


def test_a_transfer_moves_credits(rich_shell: Shell) -> None:
    before = rich_shell.good("credits", "--json").json["balance"]
    said = rich_shell.good("transfer", "ab" * 32, "50")
    assert said.out.startswith("50 credits paid to abababababab; ")
    assert rich_shell.good("credits", "--json").json["balance"] == before - 50
    refused = rich_shell.run("transfer", "ab" * 32, str(10**9))
    assert refused.status == 3
    assert "hint: Pay at most" in refused.err


def test_who_has_nothing_to_pay_with_is_told_where_credits_come_from(shell: Shell) -> None:
    refused = shell.run("transfer", "ab" * 32, "50")
    assert refused.status == 3
    assert "hint: Earn credits with `swarm volunteer`" in refused.err


def test_a_ledger_is_verified_at_the_tracker_and_from_a_file(
    rich_shell: Shell, exported: Path
) -> None:
    said = rich_shell.good("ledger", "verify")
    assert said.out.splitlines()[-1].startswith("the ledger holds")
    report = rich_shell.good("ledger", "verify", exported, "--json").json
    assert report["entries"] == len(items(exported)) - 1
    assert {"mint", "escrow", "transfer"} <= set(report["kinds"])
    assert rich_shell.good("ledger", "verify", rich_shell.tracker).status == 0


def test_an_export_replaces_nothing_unasked(rich_shell: Shell, exported: Path) -> None:
    said = rich_shell.run("ledger", "export", exported)
    assert said.status == 1
    assert "--force" in said.err
    assert rich_shell.good("ledger", "export", exported, "--force").status == 0


def test_a_tampered_copy_names_the_first_entry_that_is_wrong(
    rich_shell: Shell, exported: Path
) -> None:
    parts = items(exported)
    spoilt = [*parts[:2], parts[2].replace(b"5:moves", b"5:movez"), *parts[3:]]
    said = rich_shell.run("ledger", "verify", write(exported, spoilt))
    assert said.status == 1
    assert "entry 1: " in said.err


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_copy_that_was_cut_is_noticed(rich_shell: Shell, exported: Path, kept: int) -> None:
    said = rich_shell.run("ledger", "verify", write(exported, items(exported)[:kept]))
    assert said.status == 1
    assert "empty" in said.err or "missing" in said.err


def test_what_is_no_ledger_says_so(rich_shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    assert rich_shell.run("ledger", "verify", tmp_path / "x").status == 1
    said = rich_shell.run("ledger", "verify", tmp_path / "none")
    assert said.status == 1
    assert "swarm ledger export" in said.err


class Fork:
    """A tracker that signs what it likes."""

    def __init__(self) -> None:
        self.identity = Identity.from_seed(b"f" * 32)
        self.origin = f"openswarm/{self.identity.key.hex()}"

    def sign(self, size: int, root: bytes) -> SignedCheckpoint:
        """Sign any checkpoint."""
        return SignedCheckpoint(Checkpoint(self.origin, size, root)).sign(
            self.identity, self.origin
        )


def test_a_signed_root_that_the_entries_do_not_have_is_a_fraud(
    shell: Shell, tmp_path: Path
) -> None:
    note = Fork().sign(0, bytes(32)).encode()
    said = shell.run("ledger", "verify", write(tmp_path / "books", [note]))
    assert said.status == 1
    assert "another root" in said.err


def test_a_ledger_that_shrank_since_the_last_visit_is_a_fraud(
    rich_shell: Shell, exported: Path, tmp_path: Path
) -> None:
    fork = Fork()
    Seen(rich_shell.home).keep(fork.identity.key, fork.sign(7, bytes(32)))
    note = fork.sign(0, bytes(32)).encode()
    said = rich_shell.run("ledger", "verify", write(tmp_path / "books", [note]))
    assert said.status == 1
    assert "it was cut" in said.err


def test_a_fork_since_the_last_visit_is_a_fraud(rich_shell: Shell, exported: Path) -> None:
    report = rich_shell.good("ledger", "verify", exported, "--json").json
    tracker = PeerKey(bytes.fromhex(report["tracker"]))
    seen = Seen(rich_shell.home)
    latest = seen.latest(tracker)
    assert latest is not None
    assert latest.checkpoint.size == report["entries"]
    other = replace(latest.checkpoint, size=1, root=bytes(32))
    (rich_shell.home / SEEN / tracker.hex()).write_bytes(replace(latest, checkpoint=other).encode())
    said = rich_shell.run("ledger", "verify", exported, "--json")
    assert said.status == 1
    assert "a fork" in json.loads(said.err)["error"]["message"]
