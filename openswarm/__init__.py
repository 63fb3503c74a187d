"""The Python API of Open-Swarm: write, submit and follow jobs, and read their results.

::

    import openswarm

    draft = openswarm.load_job("JOB.toml")
    job = openswarm.submit("JOB.toml")
    openswarm.wait(job.id)
    for result in openswarm.results(job.id, "out"):
        print(result.parameters, result.files["answer.json"].read_text())

Everything is loaded on first use. The functions block; use ``TrackerApi`` with asyncio.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.jobs.jobfile import Draft
    from client.tracker_api import TrackerApi
    from client.views import AccountView, JobView, UnitView
    from openswarm.api import Result, account, job, jobs, load_job, results, submit, wait
    from workunits.errors import SwarmError
    from workunits.manifest import Manifest, SignedManifest

_PLACES = {
    "AccountView": "client.views",
    "Draft": "client.jobs.jobfile",
    "JobView": "client.views",
    "Manifest": "workunits.manifest",
    "Result": "openswarm.api",
    "SignedManifest": "workunits.manifest",
    "SwarmError": "workunits.errors",
    "TrackerApi": "client.tracker_api",
    "UnitView": "client.views",
    "account": "openswarm.api",
    "job": "openswarm.api",
    "jobs": "openswarm.api",
    "load_job": "openswarm.api",
    "results": "openswarm.api",
    "submit": "openswarm.api",
    "wait": "openswarm.api",
}

__all__ = [
    "AccountView",
    "Draft",
    "JobView",
    "Manifest",
    "Result",
    "SignedManifest",
    "SwarmError",
    "TrackerApi",
    "UnitView",
    "account",
    "job",
    "jobs",
    "load_job",
    "results",
    "submit",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
