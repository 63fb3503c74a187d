"""The functions of the Python API, over ``client``. They block; each makes its own connection."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from client import keys
from client.config import Config
from client.jobs import jobfile
from client.jobs.harvest import Harvest
from client.jobs.jobfile import Draft
from client.jobs.result_folder import ResultFolder
from client.jobs.submission import publish
from client.tracker_api import TrackerApi
from client.views import AccountView, JobView


@dataclass(frozen=True, slots=True)
class Result:
    """One accepted unit: its index, its parameters, and its output files by name."""

    index: int
    parameters: Mapping[str, str]
    files: Mapping[str, Path]


def load_job(path: str | Path) -> Draft:
    """Read a job file and hash what it names.

    Raises ``SwarmError``; its ``mistakes`` say file and line.
    """
    config = Config.make()
    return jobfile.load(
        Path(path),
        lambda: _runtime_image(config),
        lambda image: _layers(config, image),
    )


def submit(job: str | Path | Draft, *, tracker: str | None = None) -> JobView:
    """Publish a job with this user's key.

    Files over 1 MiB must be served from here until a volunteer has them (``swarm seed``).
    """
    draft = job if isinstance(job, Draft) else load_job(job)
    config = Config.make(tracker=tracker)

    async def work() -> JobView:
        async with TrackerApi.connect(config.tracker) as api:
            view, _ = await publish(api, draft, keys.load_or_create(config.key), print)
            return view

    return asyncio.run(work())


def job(job: str | bytes, *, tracker: str | None = None) -> JobView:
    """One job, by its id or the first digits of it."""

    async def work() -> JobView:
        async with TrackerApi.connect(Config.make(tracker=tracker).tracker) as api:
            return await api.find_job(_name(job))

    return asyncio.run(work())


def jobs(*, state: str = "", limit: int = 100, tracker: str | None = None) -> tuple[JobView, ...]:
    """Jobs, newest first."""

    async def work() -> tuple[JobView, ...]:
        async with TrackerApi.connect(Config.make(tracker=tracker).tracker) as api:
            return await api.jobs(state=state, limit=limit)

    return asyncio.run(work())


def wait(
    job: str | bytes,
    *,
    tracker: str | None = None,
    progress: Callable[[JobView], None] = lambda _: None,
) -> JobView:
    """Wait until a job is over; ``progress`` hears every change."""

    async def work() -> JobView:
        async with TrackerApi.connect(Config.make(tracker=tracker).tracker) as api:
            view = await api.find_job(_name(job))
            async for latest in api.events(view.id, patience=100):
                view = latest
                progress(view)
            return view

    return asyncio.run(work())


def results(
    job: str | bytes, folder: str | Path, *, tracker: str | None = None
) -> Iterator[Result]:
    """Fetch and check the results that are final and accepted by now, and iterate over them.

    They stay in ``folder``; outputs that nobody has now are left out.
    """
    config = Config.make(tracker=tracker)
    target = Path(folder)

    async def work() -> Harvest:
        async with TrackerApi.connect(config.tracker) as api:
            view = await api.find_job(_name(job))
            signed = await api.manifest(view.id)
            harvest = Harvest(api, signed, ResultFolder(target, signed), config)
            await harvest.run(lambda: None)
            return harvest

    harvest = asyncio.run(work())
    for row in harvest.rows:
        if row["state"] == "accepted":
            files = {name: target / each["path"] for name, each in row["outputs"].items()}
            there = {name: path for name, path in files.items() if path.exists()}
            yield Result(row["index"], row["parameters"], there)


def account(key: str | bytes | None = None, *, tracker: str | None = None) -> AccountView:
    """The account of ``key``, or this user's own."""
    from workunits.ids import PeerKey, parse_hash

    config = Config.make(tracker=tracker)
    name = keys.load_or_create(config.key).key if key is None else parse_hash(_name(key), "a key")

    async def work() -> AccountView:
        async with TrackerApi.connect(config.tracker) as api:
            return await api.account(PeerKey(name))

    return asyncio.run(work())


def _name(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def _runtime_image(config: Config) -> str:
    from sandbox import image

    return image.tar_hash(image.build(config.images, print))


def _layers(config: Config, image: str) -> list[tuple[bytes, Path]] | None:
    from client.jobs import sharing

    return sharing.layers_of(config, image, print)
