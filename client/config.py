"""Where things of one user are: settings come from options, then the environment, then defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TRACKER = "http://127.0.0.1:8400"
"""The tracker of a swarm that runs on this machine."""


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses and folders.

    ``home`` holds what belongs to one peer: key, blobs, state. ``cache`` holds what several peers
    of one user share and what can be made again: images, a private Docker engine.
    """

    home: Path
    cache: Path
    tracker: str
    key: Path

    @property
    def blobs(self) -> Path:
        """Folder of the blob store."""
        return self.home / "blobs"

    @property
    def images(self) -> Path:
        """Folder of the runtime images that were built here."""
        return self.cache

    @property
    def engine(self) -> Path:
        """Folder of a private Docker engine, where one is used."""
        return self.cache / "engine"

    @property
    def scratch(self) -> Path:
        """Folder for the files of units that run."""
        return self.home / "scratch"

    @classmethod
    def make(
        cls,
        *,
        home: Path | None = None,
        tracker: str | None = None,
        key: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "Config":
        """What is given, else what ``environment`` says, else the defaults.

        ``SWARM_HOME`` (default ``$XDG_DATA_HOME/openswarm`` or ``~/.local/share/openswarm``),
        ``SWARM_CACHE`` (default ``$XDG_CACHE_HOME/openswarm`` or ``~/.cache/openswarm``),
        ``SWARM_TRACKER``, ``SWARM_KEY`` (default ``HOME/key``).
        """
        environment = os.environ if environment is None else environment
        home = home or _path(environment.get("SWARM_HOME"))
        home = home or _folder(environment, "XDG_DATA_HOME", ".local/share")
        cache = _path(environment.get("SWARM_CACHE"))
        return cls(
            home=home,
            cache=cache or _folder(environment, "XDG_CACHE_HOME", ".cache"),
            tracker=tracker or environment.get("SWARM_TRACKER") or TRACKER,
            key=key or _path(environment.get("SWARM_KEY")) or home / "key",
        )


def _folder(environment: Mapping[str, str], variable: str, usual: str) -> Path:
    """Where this user's programs keep things (XDG Base Directory Specification)."""
    base = environment.get(variable, "")
    if base.startswith("/"):
        return Path(base) / "openswarm"
    return Path(environment.get("HOME") or Path.home()) / usual / "openswarm"


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
