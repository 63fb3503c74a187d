"""Calls to the Docker engine. The docker package blocks, so every call runs in a thread."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from sandbox.address import is_listening
from sandbox.image import describe, find, hash_of, volumes
from sandbox.layers import archive, check, tag
from sandbox.profile import DEADLINE_LABEL, LABEL, OWNER_LABEL
from workunits.errors import LocalError, MalformedError, UnavailableError

Result = TypeVar("Result")
_CALL_SECONDS = 60
_LOAD_SECONDS = 3600
_DOCTOR = "Check with `swarm doctor` that the engine is running, and start it."


@dataclass(frozen=True, slots=True)
class Leftover:
    """A container that some process of ours made."""

    id: str
    name: str
    owner: str
    deadline: int


@dataclass(frozen=True, slots=True)
class Death:
    """What the engine knows of a container that stopped."""

    out_of_memory: bool


class Calls:
    """An engine on this machine, behind a UNIX socket.

    Every method raises ``UnavailableError`` when the engine does not answer.
    """

    def __init__(self, engine: str) -> None:
        if not engine.startswith("unix://"):
            raise LocalError(
                f"the engine at {engine} is not on a local socket",
                hint="Set DOCKER_HOST to unix:///path/to/docker.sock: units see files of this "
                "machine, so the engine must run on it.",
            )
        self.engine = engine
        self.socket = Path(engine.removeprefix("unix://"))
        self._client: docker.APIClient | None = None
        # Content hashes by the engine's ids; None for images that may not be used.
        self._hashes: dict[str, str | None] = {}
        self._checked = False

    async def images(self) -> frozenset[str]:
        """Content hashes of the images that may be used."""
        return await self._call(self._images)

    async def image(self, image: str) -> str:
        """The engine's own id of an image that may be used; ``UnavailableError`` without one."""
        return await self._call(lambda api: self._image(api, image))

    async def load(self, image: str, layers: Sequence[tuple[bytes, Path]]) -> None:
        """Load an image out of its layers. Raises ``MalformedError`` or ``LimitError`` when they
        are not what they should be."""
        stop = threading.Event()
        try:
            await asyncio.to_thread(self._load, image, layers, stop)
        except asyncio.CancelledError:
            stop.set()  # the thread ends with the next piece
            raise

    async def forget(self, image: str) -> bool:
        """Remove an image that was loaded; false while something uses it."""
        return await self._call(lambda api: self._forget(api, image))

    async def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container; returns its id."""
        return await self._call(lambda api: self._create(api, name, body))

    async def start(self, container: str) -> None:
        """Start a container."""
        await self._call(lambda api: api.start(container))

    async def remove(self, container: str) -> bool:
        """Kill and remove a container, by id or name; false when it was gone already."""
        return await self._call(lambda api: self._remove(api, container))

    async def death(self, container: str) -> Death:
        """Why a container that hung up stopped; kills it if it still runs."""
        return await self._call(lambda api: self._death(api, container))

    async def leftovers(self) -> tuple[Leftover, ...]:
        """Every container of ours, of this process or of others, running or not."""
        return await self._call(self._leftovers)

    async def close(self) -> None:
        """Drop the connections."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    async def _call(self, call: Callable[[docker.APIClient], Result]) -> Result:
        return await asyncio.to_thread(self._blocking, call)

    def _blocking(self, call: Callable[[docker.APIClient], Result]) -> Result:
        with self._errors():
            self._require()
            if self._client is None:
                self._client = docker.APIClient(
                    base_url=self.engine, timeout=_CALL_SECONDS, version="auto"
                )
            if not self._checked:
                self._check(self._client)
            return call(self._client)

    def _require(self) -> None:
        if not is_listening(self.engine):
            raise UnavailableError(
                f"the Docker engine at {self.engine} does not answer", hint=_DOCTOR
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except APIError as error:
            raise _translate(error) from None
        except (DockerException, requests.RequestException, OSError) as error:
            raise UnavailableError(
                f"the Docker engine at {self.engine} does not answer: {_short(error)}",
                hint=_DOCTOR,
            ) from None

    def _check(self, api: docker.APIClient) -> None:
        """Refuse an engine that would silently drop a limit."""
        info: dict[str, Any] = api.info()
        lacking = [
            what
            for key, what in (
                ("MemoryLimit", "memory limits"),
                ("PidsLimit", "process limits"),
                ("CpuCfsQuota", "CPU limits"),
            )
            if not info.get(key)
        ]
        if not any("seccomp" in option for option in info.get("SecurityOptions") or ()):
            lacking.append("seccomp")
        if info.get("OSType") != "linux":
            lacking.append("Linux containers")
        if lacking:
            raise LocalError(
                f"the engine at {self.engine} does not enforce {', '.join(lacking)}",
                hint="Run Open-Swarm on a machine whose kernel has these control groups; "
                "`docker info` lists what is missing.",
            )
        self._checked = True

    def _images(self, api: docker.APIClient) -> frozenset[str]:
        present = {entry["Id"] for entry in api.images()}
        for identity in present - self._hashes.keys():
            try:
                found = describe(api, identity)
                self._hashes[identity] = None if volumes(found) else hash_of(found)
            except (MalformedError, NotFound):
                self._hashes[identity] = None
        return frozenset(
            value for key, value in self._hashes.items() if key in present and value is not None
        )

    def _image(self, api: docker.APIClient, image: str) -> str:
        known = [key for key, value in self._hashes.items() if value == image]
        with contextlib.suppress(NotFound, IndexError):
            return cast("str", describe(api, known[0])["Id"])
        found = find(api, image)
        if found is None:
            raise UnavailableError(
                f"the image {image[:19]} is not in the engine",
                hint="Load it with `docker load`; `swarm image list` shows what the engine has.",
            )
        declared = volumes(found)
        if declared:
            raise UnavailableError(
                f"the image {image[:19]} declares volumes ({', '.join(declared)[:200]}), "
                "which would be written to this machine's disk without a limit",
                hint="Use an image without VOLUME; `docker export` and `docker import` make one.",
            )
        self._hashes[found["Id"]] = image
        return cast("str", found["Id"])

    def _load(
        self, image: str, layers: Sequence[tuple[bytes, Path]], stop: threading.Event
    ) -> None:
        for _, path in layers:
            check(path)
            if stop.is_set():
                return
        # A client of its own: the engine says nothing while it unpacks.
        with self._errors():
            self._require()
            with docker.APIClient(self.engine, timeout=_LOAD_SECONDS, version="auto") as api:
                pieces = _until(archive(image, layers), stop)
                error = _first_error(api.load_image(pieces))  # type: ignore[no-untyped-call]
                if error:
                    raise MalformedError(
                        f"the engine refused the image {image[:19]}: {error}",
                        hint="Check with `docker system df` that the engine has disk space; if it "
                        "has, the image is broken.",
                    )
                got = hash_of(describe(api, tag(image)))
                if got != image:
                    api.remove_image(tag(image))
                    raise MalformedError(f"the image {image[:19]} became {got[:19]}")

    def _forget(self, api: docker.APIClient, image: str) -> bool:
        try:
            api.remove_image(tag(image))
        except NotFound:
            return True
        except APIError as error:
            if error.status_code == 409:
                return False
            raise
        return True

    @staticmethod
    def _create(api: docker.APIClient, name: str, body: dict[str, Any]) -> str:
        made = api.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
        return cast("str", made["Id"])

    @staticmethod
    def _remove(api: docker.APIClient, container: str) -> bool:
        try:
            api.remove_container(container, force=True, v=True)
        except NotFound:
            return False
        except APIError as error:
            if error.status_code == 409 and "in progress" in str(error):
                return False
            raise
        return True

    @staticmethod
    def _death(api: docker.APIClient, container: str) -> Death:
        try:
            state = cast("dict[str, Any]", api.inspect_container(container)["State"])
            if state.get("Running"):
                # The line ends a moment before the engine notices the end of the process.
                try:
                    api.wait(container, timeout=2)
                except requests.RequestException:
                    api.kill(container)
                    return Death(False)
                state = cast("dict[str, Any]", api.inspect_container(container)["State"])
        except NotFound:
            return Death(False)
        return Death(bool(state.get("OOMKilled")))

    @staticmethod
    def _leftovers(api: docker.APIClient) -> tuple[Leftover, ...]:
        found = []
        for entry in api.containers(all=True, filters={"label": f"{LABEL}=1"}):
            labels = entry.get("Labels") or {}
            deadline = labels.get(DEADLINE_LABEL, "")
            found.append(
                Leftover(
                    entry["Id"],
                    (entry.get("Names") or [""])[0].lstrip("/"),
                    labels.get(OWNER_LABEL, ""),
                    int(deadline) if re.fullmatch(r"[0-9]{1,15}", deadline, re.ASCII) else 0,
                )
            )
        return tuple(found)


def _translate(error: APIError) -> LocalError:
    """What the engine said no to, in words of ours."""
    reason = _short(error.explanation or error)
    if "python3" in reason and "not found" in reason:
        return UnavailableError(
            "the image has no python3 in /usr/local/bin, /usr/bin or /bin",
            hint="Use the runtime image as the base, or add Python to the image.",
        )
    if "runtime" in reason and ("unknown" in reason or "not found" in reason):
        return UnavailableError(
            f"the engine does not have the container runtime: {reason}",
            hint="Install the runtime and register it with the engine, or leave the option out.",
        )
    return UnavailableError(f"the Docker engine refused: {reason}", hint=_DOCTOR)


def _first_error(progress: Iterable[dict[str, Any]]) -> str:
    """What went wrong, of all that the engine says while it loads."""
    errors = [str(each["error"]) for each in progress if "error" in each]
    return _short(errors[0]) if errors else ""


def _until(pieces: Iterable[bytes], stop: threading.Event) -> Iterator[bytes]:
    for piece in pieces:
        if stop.is_set():
            raise UnavailableError("loading was stopped", hint="Try again.")
        yield piece


def _short(error: object) -> str:
    return " ".join(str(error).split())[:300]
