"""The options that say how a command may use the network."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from client.commands.invocation import option
from client.jobs.quantities import parse_size

_Function = TypeVar("_Function", bound=Callable[..., Any])

POLICIES = ("lan", "always", "never")


class Rate(click.ParamType[int]):
    """Bytes per second, written like 2MiB."""

    name = "RATE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse the rate."""
        try:
            rate = value if isinstance(value, int) else parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if rate <= 0:
            self.fail("a limit is above 0; leave it out for none", param, ctx)
        return rate


def network_options(function: _Function) -> _Function:
    """Add the options, and hand the command what they come to as ``network``."""

    @wraps(function)
    def run(*args: Any, **values: Any) -> Any:
        from client.peers.network import Network, TcpPolicy
        from client.peers.throttle import Rates

        network = Network(
            tcp=TcpPolicy(values.pop("tcp")),
            port=values.pop("port"),
            relay_only=values.pop("relay_only"),
            local=values.pop("local"),
            limits=Rates(values.pop("up"), values.pop("down")),
        )
        return function(*args, network=network, **values)

    decorated: Any = run
    for add in reversed(_OPTIONS):
        decorated = add(decorated)
    return decorated  # type: ignore[no-any-return]


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    option(
        "--tcp",
        type=click.Choice(POLICIES),
        default="lan",
        help="Where plain TCP, which is not encrypted, is used beside WebRTC.",
    ),
    option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        show_default=False,
        help="Where to listen on TCP.  [default: any free port]",
    ),
    option(
        "--relay-only",
        is_flag=True,
        help="Show no address to peers: meet them through the tracker's TURN server only.",
    ),
    option("--local/--no-local", default=True, help="Find peers of the local network by mDNS."),
    option("--up", type=Rate(), help="Most bytes to send per second, like 2MiB."),
    option("--down", type=Rate(), help="Most bytes to receive per second, like 2MiB."),
)
