"""The units of a job over REST: what is shown, and what not before its verdict."""

from pathlib import Path

from tests.tracker.serving import identity, served
from tests.tracker.work.world import manifest, outcome
from workunits.results import Result
from workunits.verification import Demands, Policy


async def test_units_come_in_pages_with_who_was_right(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = await tracker.run(manifest(3))
        path = f"/api/v1/jobs/{job}/units"
        page = await tracker.ask(path + "?limit=2")
        assert [unit["index"] for unit in page["units"]] == [0, 1]
        assert page["next"] == 1
        page = await tracker.ask(path + "?limit=2&after=1")
        (unit,) = page["units"]
        assert page["next"] is None
        assert (unit["state"], unit["parameters"]) == ("accepted", {"p": "2"})
        assert set(unit["winners"]) == {identity(name).key.hex() for name in ("worker", "checker")}
        assert unit["losers"] == []
        output = Result.parse(outcome(2).result).outputs[0]
        assert unit["result"]["outputs"][0]["v2"] == output.ref.v2.hex()
        assert (await tracker.ask(path + "?state=failed"))["units"] == []


async def test_a_result_is_not_shown_before_its_verdict(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(manifest()))["id"]
        worker = await tracker.join("worker")
        while not worker.leases:
            await worker.receive()
        await worker.commit()
        (unit,) = (await tracker.ask(f"/api/v1/jobs/{job}/units"))["units"]
        assert unit["state"] == "computing"
        assert unit["result"] is None
        assert unit["winners"] == unit["losers"] == []


async def test_a_settled_unit_says_who_computed_it_and_not_what(tmp_path: Path) -> None:
    body = manifest(2, policy=Policy.ECONOMY, demands=Demands((("referee", 0),)))
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(body))["id"]
        everyone = [
            await tracker.join("worker", hold=1),
            await tracker.join("checker", validator=True),
        ]
        for remote in everyone:
            while not remote.leases:
                await remote.receive()
            await remote.commit()
        for remote in everyone:
            await remote.reveal()
        view = await tracker.ask(f"/api/v1/jobs/{job}")
        assert (view["counts"]["settled"], view["counts"]["computing"]) == (1, 1)
        assert (view["counts"]["accepted"], view["escrow"]["paid"]) == (0, 0)
        (unit,) = (await tracker.ask(f"/api/v1/jobs/{job}/units?state=settled"))["units"]
        assert unit["result"] is None
        assert set(unit["winners"]) == {each.identity.key.hex() for each in everyone}
        page = (await tracker.fetch("/")).decode()
        assert "1 / 2; 1 settled, not final yet" in page
        peers = (await tracker.ask("/api/v1/peers"))["peers"]
        assert [each["verified"] for each in peers] == [1, 1]
        assert [each["strikes"] for each in peers] == [0, 0]
