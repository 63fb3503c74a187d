"""Tables and migrations. A migration that was released is never edited; the next one is added."""

import sqlite3
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from workunits.errors import LocalError

migrations = Migrations("openswarm")


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database: WAL, and ``synchronous=FULL`` so that a commit outlives a power cut.

    Raises ``LocalError`` when the file cannot be opened.
    """
    try:
        if read_only:
            uri = f"{path.resolve().as_uri()}?mode=ro"
            return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=5000")
    except sqlite3.Error as error:
        raise LocalError(
            f"cannot open the database {path}: {error}",
            hint="Check that the directory exists, is writable and has free space.",
        ) from None
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the current schema."""
    migrations.apply(Database(connection))


@migrations()
def create_tables(db: Database) -> None:
    """The first schema."""
    db.table("jobs").create(
        {
            "id": bytes,
            "manifest": bytes,
            "signature": bytes,
            "submitter": bytes,
            "name": str,
            "state": str,
            "created": float,
            "units": int,
            "accepted": int,
            "failed": int,
            "executions": int,
            "wrong": int,
            "paid": int,
            "returned": int,
            "reason": str,
        },
        pk="id",
    )
    db.table("units").create(
        {
            "job": bytes,
            "idx": int,
            "stage": str,
            "attempts": int,
            "drawn": bytes,
            "shown": bytes,
            "reopened": int,
            "confirmed": int,
            "result": bytes,
            "reason": str,
        },
        pk=("job", "idx"),
    )
    db.table("executions").create(
        {
            "token": int,
            "job": bytes,
            "idx": int,
            "peer": bytes,
            "owner": bytes,
            "doing": str,
            "commitment": bytes,
            "seal": bytes,
            "lot": int,
            "proven": int,
            "referee": int,
            "platform": str,
            "entry": int,
            "result": bytes,
        },
        pk="token",
    ).create_index(["job", "idx"])
    db.table("contents").create({"v2": bytes, "data": bytes}, pk="v2")
    db.table("peers").create(
        {
            "key": bytes,
            "owner": bytes,
            "validator": int,
            "right": int,
            "wrong": int,
            "withheld": int,
            "alone": int,
            "late": int,
            "banned": int,
        },
        pk="key",
    )
    db.table("scores").create(
        {"peer": bytes, "what": str, "about": bytes, "amount": float, "at": float},
        pk=("peer", "what", "about"),
    )
    db.table("beacon").create({"id": int, "used": int}, pk="id")
    db.table("ringers").create({"job": bytes, "ringers": bytes}, pk="job")
    db.table("ledger").create({"number": int, "leaf": bytes, "entry": bytes}, pk="number")
    db.table("accounts").create(
        {"account": bytes, "balance": int, "earned": int, "spent": int}, pk="account"
    )
    db.table("statements").create(
        {"id": bytes, "raw": bytes, "signature": bytes, "time": int}, pk="id"
    )
    db.table("blobs").create({"v2": bytes, "length": int, "info": bytes, "account": bytes}, pk="v2")


@migrations()
def add_torrents_and_members(db: Database) -> None:
    """Torrents that were registered, and who may announce where only members may."""
    db.table("torrents").create(
        {
            "account": bytes,
            "v1": bytes,
            "v2": bytes,
            "length": int,
            "name": str,
            "private": int,
            "time": int,
            "removed": int,
        },
        pk=("account", "v1", "v2"),
    )
    db.table("members").create(
        {"account": bytes, "admitted": int, "issued": int, "valid": int}, pk="account"
    )


@migrations()
def add_models_and_api_keys(db: Database) -> None:
    """Models that can be asked, API keys (no secrets), and what they were used for."""
    db.table("models").create(
        {
            "name": str,
            "author": bytes,
            "v2": bytes,
            "v1": bytes,
            "length": int,
            "created": int,
            "withdrawn": int,
        },
        pk="name",
    )
    db.table("api_keys").create(
        {
            "hash": bytes,
            "owner": bytes,
            "name": str,
            "budget": int,
            "spent": int,
            "per_minute": int,
            "created": int,
            "closed": int,
        },
        pk="hash",
    )
    db.table("usage").create(
        {
            "key": bytes,
            "model": str,
            "requests": int,
            "prompt": int,
            "generated": int,
            "milliseconds": int,
            "verified": int,
            "cost": int,
        },
        pk=("key", "model"),
    )
