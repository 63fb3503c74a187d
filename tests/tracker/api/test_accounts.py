"""Accounts and ledger entries, as everybody may see them."""

from pathlib import Path

from tests.tracker.serving import served
from tests.tracker.work.world import SUBMITTER, manifest
from workunits.merkle import leaf_hash


async def test_accounts_come_richest_first_and_a_new_key_has_an_empty_one(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=50)
        job = (await tracker.submit(manifest()))["id"]
        accounts = (await tracker.ask("/api/v1/accounts"))["accounts"]
        assert [each["account"] for each in accounts] == [
            *(SUBMITTER.key.hex(), f"escrow:{job}", "mint")
        ]
        assert sum(each["balance"] for each in accounts) == 0
        assert len((await tracker.ask("/api/v1/accounts?limit=1"))["accounts"]) == 1
        empty = await tracker.ask("/api/v1/accounts/" + "0" * 64)
        assert (empty["balance"], empty["banned"]) == (0, False)


async def test_the_ledger_is_shown_entry_by_entry(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.run(manifest(2))
        entries = (await tracker.ask("/api/v1/ledger"))["entries"]
        kinds = [each["type"] for each in entries]
        assert kinds[:2] == ["mint", "escrow"]
        assert kinds.count("verdict") == 2
        assert "refund" in kinds
        for entry in entries:
            assert leaf_hash(bytes.fromhex(entry["entry"])).hex() == entry["leaf"]
        rest = (await tracker.ask("/api/v1/ledger?after=2"))["entries"]
        assert rest == entries[2:]
