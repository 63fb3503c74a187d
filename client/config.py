"""Where things of one user are: settings come from options, then the environment, then defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TRACKER = "http://127.0.0.1:7700"
"""The tracker of a swarm that runs on this machine."""


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses and folders. ``home`` holds everything that a user's swarm keeps on disk."""

    home: Path
    tracker: str
    key: Path

    @property
    def blobs(self) -> Path:
        """Folder of the blob store."""
        return self.home / "blobs"

    @property
    def images(self) -> Path:
        """Folder of the runtime images that were built here."""
        return self.home / "images"

    @property
    def engine(self) -> Path:
        """Folder of a private Docker engine, where one is used."""
        return self.home / "engine"

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
        ``SWARM_TRACKER``, ``SWARM_KEY`` (default ``HOME/key``).
        """
        environment = os.environ if environment is None else environment
        home = home or _path(environment.get("SWARM_HOME")) or default_home(environment)
        return cls(
            home=home,
            tracker=tracker or environment.get("SWARM_TRACKER") or TRACKER,
            key=key or _path(environment.get("SWARM_KEY")) or home / "key",
        )


def default_home(environment: Mapping[str, str]) -> Path:
    """Where data of this user's programs goes (XDG Base Directory Specification)."""
    data = environment.get("XDG_DATA_HOME", "")
    if data.startswith("/"):
        return Path(data) / "openswarm"
    return Path(environment.get("HOME") or Path.home()) / ".local" / "share" / "openswarm"


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
