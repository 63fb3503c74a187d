"""A child that announces as fast as it is answered, over HTTP, UDP or WebSockets."""

import asyncio
import itertools
import json
import os
import sys
from asyncio import TaskGroup
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

import uvloop

from bench.clients import (
    EchoClient,
    FakeClient,
    HttpClient,
    SocketClient,
    Tally,
    UdpClient,
    http_requests,
)

NUDGE = 0.2
PACE_NUDGE = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load is told: where, ``http``, ``udp``, ``socket``, ``echo`` or ``fakes``, over how
    many connections, in how many swarms; ``pace`` is announces a second, for fakes."""

    url: str
    kind: str
    connections: int
    swarms: int = 20
    pace: float = 0.0

    def line(self) -> dict[str, object]:
        """The plan as JSON."""
        return asdict(self)


@dataclass(slots=True)
class Load:
    """Clients as planned, and what they count."""

    plan: Plan
    tally: Tally = field(default_factory=Tally)

    async def run(self) -> None:
        """Run until told to end; answer every line in between with the counts."""
        address = urlsplit(self.plan.url)
        host, port = str(address.hostname), int(address.port or 80)
        async with TaskGroup() as group:
            match self.plan.kind:
                case "http":
                    await self._http(group, host, port)
                case "udp":
                    clients = [
                        UdpClient(self.tally, (host, port), number, self.plan.swarms)
                        for number in range(self.plan.connections)
                    ]
                    group.create_task(self._udp(clients, NUDGE))
                case "fakes":
                    plan = self.plan
                    fakes = [FakeClient(self.tally, (host, port), plan.swarms, plan.pace)]
                    group.create_task(self._udp(fakes, PACE_NUDGE if plan.pace else NUDGE))
                case "socket" | "echo" as kind:
                    await self._sockets(EchoClient if kind == "echo" else SocketClient, host, port)
            while (await asyncio.to_thread(sys.stdin.readline)).strip() == '"count"':
                if self.tally.failure:
                    raise RuntimeError(self.tally.failure)
                print(json.dumps([self.tally.sent, self.tally.received]), flush=True)
            self.tally.over = True

    async def _http(self, group: TaskGroup, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()

        def again(client: HttpClient) -> None:
            group.create_task(connect(client))

        async def connect(client: HttpClient) -> None:
            await loop.create_connection(lambda: client, host, port)

        for number in range(self.plan.connections):
            requests = itertools.cycle(http_requests(f"{host}:{port}", number, self.plan.swarms))
            await connect(HttpClient(self.tally, requests, again))

    async def _udp(self, clients: Sequence[UdpClient], nudge: float) -> None:
        loop = asyncio.get_running_loop()
        for client in clients:
            loop.add_reader(client.socket, client.ready)
        while not self.tally.over:
            for client in clients:
                client.nudge()
            await asyncio.sleep(nudge)
        for client in clients:
            loop.remove_reader(client.socket)
            client.socket.close()

    async def _sockets(self, kind: type[SocketClient], host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        for number in range(self.plan.connections):
            client = kind(self.tally, f"{host}:{port}", number, self.plan.swarms)
            await loop.create_connection(lambda made=client: made, host, port)  # type: ignore[misc]


if __name__ == "__main__":
    # Answers wake this process up; it must not push the server, which is metered, from its core.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    uvloop.run(Load(Plan(**json.loads(sys.stdin.readline()))).run())
