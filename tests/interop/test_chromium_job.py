"""A job whose input only a browser has, and whose result a browser fetches from the volunteer."""

import asyncio
import os
from pathlib import Path

import pytest

from examples.demo.swarm import Peer, Swarm
from tests.acceptance.conftest import WriteJob, finish, publish, submitter, swarm, write_job
from tests.engine import docker_engine, runtime_image
from tests.interop.browser import browser
from tests.interop.members import announce_url, torrent_of

__all__ = ["docker_engine", "runtime_image", "submitter", "swarm", "write_job"]

REVERSE = """
data = open("/in/big.bin", "rb").read()
open("/out/out.txt", "wb").write(data[::-1])
"""


@pytest.mark.engine
async def test_a_volunteer_computes_on_what_a_browser_seeds_and_a_browser_fetches_the_result(
    swarm: Swarm, submitter: Peer, write_job: WriteJob, tmp_path: Path
) -> None:
    content = os.urandom(1_500_000)  # more than the tracker's web seed takes
    (tmp_path / "big.bin").write_bytes(content)
    announce = announce_url(swarm.url)
    torrent, file = torrent_of(content, announce)
    swarm.volunteer(swarm.peer("volunteer"))
    swarm.volunteer(swarm.peer("validator"), "--validate")
    async with browser(tmp_path / "page") as page:
        (page.folder / "given.torrent").write_bytes(file)
        (page.folder / "given").write_bytes(content)
        await page.do("seed", torrent="given.torrent", content="given")
        inputs, limits = '"big.bin" = "../big.bin"', 'cpu = "20s"\noutput = "2MiB"'
        job_file = write_job(REVERSE, "", inputs=inputs, limits=limits)
        # The submitter does not stay: it serves nothing.
        job = await asyncio.to_thread(publish, swarm, submitter, job_file)
        view = await asyncio.to_thread(finish, swarm, submitter, job)
        assert view["counts"]["accepted"] == 1
        result = next(swarm.units(job))["result"]["outputs"][0]
        for blob in torrent.info.ref.v2.hex(), result["v2"]:
            assert swarm.status_of(f"blobs/{blob}") == 404, "the tracker must not have carried it"
        magnet = f"magnet:?xt=urn:btih:{result['v1']}&tr={announce}"
        await page.do("fetch", magnet=magnet, into="result")
        assert (page.folder / "result").read_bytes() == content[::-1]
