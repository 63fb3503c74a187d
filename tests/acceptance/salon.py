"""A swarm that answers prompts, all of it real, and somebody who asks."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
import openai
import pytest

from examples.demo.smaller import make_smaller
from examples.demo.swarm import THRIFTY, Peer, Swarm
from examples.demo.thrifty import VARIABLE
from sandbox.engine import Engine
from tests.acceptance.conftest import containers
from tests.engine import cache_folder

MODEL = "smollm2"
CONTEXT = 512
BUDGET = 100_000
SECONDS = 120.0
"""How long anything may take on a machine with much else to do."""

VOLUNTEER = ("--memory", "1GiB")


def eventually(holds: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait until ``holds`` gives something true; returns that."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return found


@dataclass
class Heard:
    """One answer as a client saw it."""

    text: str = ""
    pieces: int = 0
    finish: str = ""
    verdict: dict[str, Any] = field(default_factory=dict)


class Stream:
    """An answer that comes; ``heard`` is what came until now."""

    def __init__(self, chunks: openai.Stream[Any]) -> None:
        self.heard = Heard()
        self._chunks = chunks

    def read(self, pieces: int = 1 << 30) -> Heard:
        """Read until so many pieces of text came, or to the end."""
        heard = self.heard
        for chunk in self._chunks:
            heard.verdict = (chunk.model_extra or {}).get("swarm", heard.verdict)
            for choice in chunk.choices:
                heard.finish = choice.finish_reason or heard.finish
                if choice.delta.content:
                    heard.text += choice.delta.content
                    heard.pieces += 1
            if heard.pieces >= pieces:
                break
        return heard

    def close(self) -> None:
        """Hang up."""
        self._chunks.close()


@dataclass
class Salon:
    """A tracker with a model, its publisher, an API key, and volunteers who come and go."""

    swarm: Swarm
    engine: Engine
    asker: Peer
    publisher: Peer
    model: Path
    secret: str = ""
    peers: dict[str, Peer] = field(default_factory=dict)

    def staff(self, *names: str) -> None:
        """Have just these volunteers, connected. Those who are too many are killed.

        ``thrifty`` answers from a smaller model.
        """
        for name in self.peers:
            if name not in names and self.swarm.runs(name):
                self.swarm.kill(name)
        for name in names:
            peer = self.peers.get(name) or self.swarm.peer(name)
            self.peers[name] = peer
            if not self.swarm.runs(name):
                cheats = name == "thrifty"
                self.swarm.volunteer(
                    *(peer, *VOLUNTEER),
                    program=THRIFTY if cheats else None,
                    extra={VARIABLE: str(self._smaller())} if cheats else None,
                )
        wanted = {self.peers[name].key for name in names}
        eventually(lambda: self._connected() == wanted, f"{names} are connected")

    def start_tracker(self, program: list[str] | None = None) -> None:
        """Start the tracker again, where it was."""
        self.swarm.start_tracker(listen=self.swarm.url.removeprefix("http://"), program=program)

    def client(self, secret: str = "") -> openai.OpenAI:
        """OpenAI's client."""
        return openai.OpenAI(
            base_url=f"{self.swarm.url}/v1",
            api_key=secret or self.secret,
            max_retries=0,
            timeout=SECONDS,
        )

    @contextmanager
    def stream(
        self, prompt: str, most: int, *, before: bool = False, model: str = MODEL
    ) -> Iterator[Stream]:
        """Ask, and read the answer as it comes."""
        with self.client() as client:
            chunks = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": prompt}],
                max_tokens=most,
                temperature=0,
                stream=True,
                extra_headers={"X-Swarm-Verify": "before"} if before else None,
            )
            stream = Stream(chunks)
            try:
                yield stream
            finally:
                stream.close()

    def ask(self, prompt: str, most: int, *, before: bool = False, model: str = MODEL) -> Heard:
        """The whole answer, as it came in a stream."""
        with self.stream(prompt, most, before=before, model=model) as stream:
            return stream.read()

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """A request by nobody's client."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.post(f"{self.swarm.url}{path}", json=body, headers=headers, timeout=SECONDS)

    def chat(self, prompt: str, most: int = 8, *, model: str = MODEL) -> httpx.Response:
        """A chat by nobody's client."""
        messages = [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": messages, "max_tokens": most, "temperature": 0}
        return self.post("/v1/chat/completions", body)

    def open_key(self, name: str, budget: int) -> str:
        """The secret of a new API key of the asker."""
        arguments = ("api-key", "create", "--budget", str(budget), "--name", name, "--json")
        return str(json.loads(self.swarm.run(self.asker, *arguments))["secret"])

    def key(self, name: str = "main") -> dict[str, Any]:
        """What an API key has left."""
        keys = json.loads(self.swarm.run(self.asker, "api-key", "list", "--json"))
        (found,) = (each for each in keys if each["name"] == name)
        return dict(found)

    def settled_key(self, name: str = "main") -> dict[str, Any]:
        """What an API key has left once nothing of it is under way."""
        return eventually(  # type: ignore[no-any-return]
            lambda: key if not (key := self.key(name))["reserved"] else None, "all is settled"
        )

    def busy(self) -> set[str]:
        """Names of the volunteers who compute or check something."""
        names = {peer.key: name for name, peer in self.peers.items()}
        known = self.swarm.get("peers")["peers"]
        return {
            names[each["key"]]
            for each in known
            if each["key"] in names and each["leases"] and each["connected"]
        }

    def the_busy_one(self, *others: str) -> str:
        """Wait until one volunteer works, and none of ``others``; returns its name."""

        def alone() -> str:
            busy = self.busy()
            return next(iter(busy)) if len(busy) == 1 and not busy & {*others} else ""

        return str(eventually(alone, f"one works, and none of {others}"))

    def kill_engines(self) -> int:
        """Kill every container that runs for a volunteer here; returns how many."""
        client = docker.DockerClient(base_url=self.engine.url)
        killed = 0
        try:
            for name in self.containers():
                container = client.containers.get(name)
                if container.status == "running":
                    container.kill()
                    killed += 1
        finally:
            client.close()
        return killed

    def containers(self) -> list[str]:
        """Names of the containers of all volunteers."""
        return containers(self.engine, self.swarm.folder)

    def stop(self, name: str) -> None:
        """Have a volunteer hang: it stays connected and does nothing."""
        self.swarm.process(name).send_signal(signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """End that."""
        self.swarm.process(name).send_signal(signal.SIGCONT)

    def events(self, name: str, kind: str) -> list[dict[str, Any]]:
        """What a volunteer has said of itself since it was started."""
        lines = self.peers[name].log.read_text().splitlines()
        found = (json.loads(line) for line in lines if line.startswith('{"event"'))
        return [each for each in found if each["event"] == kind]

    def await_model(self, name: str, publisher: Peer) -> None:
        """Wait until a model can be asked for."""
        process = self.swarm.process(publisher.name)

        def there() -> bool:
            assert process.poll() is None, publisher.log.read_text()
            return any(each["name"] == name for each in self.swarm.get("models")["models"])

        eventually(there, f"the model {name} is published")

    def _smaller(self) -> Path:
        path = self.swarm.folder / "smaller.gguf"
        return path if path.exists() else make_smaller(self.model, path)

    def _connected(self) -> set[str]:
        ours = {peer.key for peer in self.peers.values()}
        known = self.swarm.get("peers")["peers"]
        return {each["key"] for each in known if each["connected"] and each["key"] in ours}


@contextmanager
def open_salon(
    folder: Path, engine: Engine, model: Path, converted: Path, *, context: int = CONTEXT
) -> Iterator[Salon]:
    """A tracker, a published model, a key, two volunteers; all of it ends with the block.

    ``converted`` is the model as ctransformers reads it.
    """
    with ExitStack() as stack:
        swarm = Swarm(folder, engine.url, cache_folder(), stack)
        swarm.start_tracker()
        asker, publisher = swarm.peer("asker"), swarm.peer("publisher")
        swarm.grant(asker, 3 * BUDGET)
        swarm.grant(publisher, 1)
        salon = Salon(swarm, engine, asker, publisher, converted)
        what = ("--engine", "ctransformers", "--name", MODEL, "--context", str(context))
        swarm.background(publisher, "model", "add", str(model), *what)
        salon.staff("one", "two")
        salon.secret = salon.open_key("main", BUDGET)
        salon.await_model(MODEL, publisher)
        yield salon


@pytest.fixture(scope="module")
def salon(
    docker_engine: Engine,
    runtime_image: str,
    ctransformers_image: str,
    ctransformers_model: Path,
    smollm: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Salon]:
    """One swarm for all tests of a file."""
    folder = tmp_path_factory.mktemp("salon")
    with open_salon(folder, docker_engine, smollm, ctransformers_model) as made:
        yield made
