"""Publishing a job: its small files go to the tracker's store, then its signed manifest."""

import secrets
from collections.abc import Callable
from pathlib import Path

from client.jobs.jobfile import Draft
from client.tracker_api import TrackerApi, TrackerError, now
from client.views import JobView
from workunits.manifest import NONCE_SIZE
from workunits.ringers import SALT_SIZE
from workunits.signing import Identity
from workunits.statements import Statement, Upload

WEB_SEED_LIMIT = 1 << 20
"""Bytes up to which a file is handed to the tracker, which then seeds it too."""


async def publish(
    tracker: TrackerApi, draft: Draft, identity: Identity, say: Callable[[str], None]
) -> tuple[JobView, list[Path]]:
    """Sign and publish ``draft``; returns the job, and the files that must be seeded from here.

    Files go first, so that the first volunteer finds them.
    """
    nonce, salt = secrets.token_bytes(NONCE_SIZE), secrets.token_bytes(SALT_SIZE)
    submission = draft.submission(identity, nonce, salt)
    left = await hand_over(tracker, draft, identity, say)
    return await tracker.submit(submission), left


async def hand_over(
    tracker: TrackerApi, draft: Draft, identity: Identity, say: Callable[[str], None]
) -> list[Path]:
    """Upload what is small and not there; returns the files that the tracker does not have."""
    left = []
    for ref, path in draft.files.items():
        if await tracker.has_blob(ref):
            continue
        if ref.length > WEB_SEED_LIMIT:
            left.append(path)
            continue
        claim = Upload(ref.v2, ref.length)
        statement = Statement.sign(identity, claim, time=now(), nonce=secrets.token_bytes(16))
        try:
            await tracker.upload(ref, path.read_bytes(), statement)
        except TrackerError as error:
            say(f"the tracker does not take {path.name}: {error.message}")
            left.append(path)
    return left
