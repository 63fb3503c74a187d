"""The tracker's pages: what goes on, for people with a browser. They work without scripts."""

from collections.abc import Callable
from html import escape
from importlib.resources import files
from itertools import islice

from aiohttp import web

from tracker.announce.handlers import AnnounceService
from tracker.api import views
from tracker.endpoint.swarm_parlour import SwarmParlour
from tracker.registry import Registry
from tracker.sessions import Sessions
from tracker.stats import WORDS, statistics
from workunits.ids import short

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
MAX_ROWS = 50
_FOR = {"open": "everybody", "listed": "listed torrents", "members": "members"}


class Pages:
    """HTML for one tracker. ``uptime`` is seconds."""

    def __init__(
        self,
        sessions: Sessions,
        announce: AnnounceService,
        registry: Registry,
        uptime: Callable[[], float],
        parlour: SwarmParlour | None = None,
    ) -> None:
        self._sessions = sessions
        self._announce = announce
        self._registry = registry
        self._uptime = uptime
        self._parlour = parlour
        folder = files("tracker")
        self._frame, self._index, self._stats = (
            folder.joinpath(f"{name}.html").read_text() for name in ("frame", "page", "stats")
        )

    def routes(self) -> list[web.RouteDef]:
        """The pages' addresses."""
        return [
            web.get("/", self.index),
            web.get("/stats", self.stats),
            web.get("/stats.json", self.numbers),
        ]

    async def index(self, _: web.Request) -> web.Response:
        """Jobs, models, peers and the books at this moment."""
        desk, wall = self._sessions.desk, self._sessions.wall()
        live = (job for job in desk.jobs.values() if not job.manifest.is_asked)
        jobs = [views.live_job(job) for job in islice(live, MAX_ROWS)]
        peers = sorted(desk.peers.values(), key=lambda each: -each.right)[:MAX_ROWS]
        text = self._index.format(
            jobs="".join(map(_job, jobs)) or _empty(5, "No job is active."),
            peers="".join(_peer(views.peer(each, desk.book.operator, wall)) for each in peers)
            or _empty(6, "No peer has come yet."),
            models=_models(self._asked()),
            connected=len(self._sessions),
            entries=f"{desk.book.entries:,}",
            minted=f"{desk.book.minted:,}",
            total=desk.book.total(),
            head=short(desk.book.head),
        )
        return self._page("Open-Swarm tracker", text)

    async def stats(self, _: web.Request) -> web.Response:
        """Peers, announces and limits of the announce service."""
        numbers = statistics(self._announce, self._registry, self._uptime())
        peers = numbers["peers"]
        text = self._stats.format(
            peers=f"{peers['all']:,}",
            seeders=f"{peers['seeders']:,}",
            leechers=f"{peers['leechers']:,}",
            swarms=f"{numbers['swarms']:,}",
            mode=_FOR[numbers["mode"]],
            uptime=_span(numbers["uptime"]),
            tables="".join(
                _table(WORDS[name], group)
                for name, group in numbers.items()
                if isinstance(group, dict)
            )
            + _table("Errors", {"errors": numbers["errors"]}),
        )
        return self._page("Open-Swarm announce service", text)

    async def numbers(self, _: web.Request) -> web.Response:
        """The same for scripts, and what models are asked."""
        numbers = statistics(self._announce, self._registry, self._uptime())
        numbers |= {"models": self._asked()}
        return web.json_response(numbers, headers={"Cache-Control": "no-store"})

    def _asked(self) -> views.Json:
        return {} if self._parlour is None else self._parlour.numbers()

    def _page(self, title: str, body: str) -> web.Response:
        text = self._frame.format(title=title, body=body)
        return web.Response(text=text, content_type="text/html", headers=HEADERS)


def _job(job: views.Json) -> str:
    counts = job["counts"]
    settled = counts["settled"]
    done = counts["accepted"] + counts["failed"] + settled
    count = f"{done:,} / {job['units']:,}"
    if settled:
        count += f"; {settled:,} settled, not final yet"
    cells = (
        escape(job["name"]),
        f"<code>{job['id'][:12]}</code>",
        f"<progress max='{job['units']}' value='{done}'></progress> {count}",
        f"{job['wrong']:,}",
        f"{job['escrow']['held']:,}",
    )
    return _row(cells)


def _peer(peer: views.Json) -> str:
    state = "connected" if peer["connected"] else "away"
    if peer["banned"] or peer["doubted"]:
        state = "banned" if peer["banned"] else f"{state}, doubted"
    key = f"<code>{peer['key'][:12]}</code>"
    numbers = (f"{peer[name]:,}" for name in ("verified", "right", "wrong"))
    return _row((key, peer["role"], state, *numbers))


def _table(title: str, group: views.Json) -> str:
    rows = "".join(
        _row((WORDS[name], f"{value:,}")) for name, value in group.items() if name in WORDS
    )
    return f"<h2>{title}</h2>\n<table class='numbers'>\n{rows}</table>\n"


def _models(models: views.Json) -> str:
    if not models:
        return ""
    heads = ("Model", "Requests", "Under way", "Tokens", "Verified", "Tokens/s", "Credits")
    rows = (
        _row(
            (
                escape(name),
                f"{each['requests']:,}",
                f"{each['open']:,}",
                f"{each['generated']:,}",
                f"{each['verified']:.1%}",
                f"{each['rate']:,}",
                f"{each['cost']:,}",
            )
        )
        for name, each in models.items()
    )
    head = "<tr>" + "".join(f"<th>{each}</th>" for each in heads) + "</tr>\n"
    return f"<h2>Models</h2>\n<table class='models'>\n{head}{''.join(rows)}</table>\n"


def _span(seconds: int) -> str:
    days, rest = divmod(seconds, 24 * 3600)
    hours, rest = divmod(rest, 3600)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min"


def _row(cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _empty(columns: int, text: str) -> str:
    return f"<tr><td colspan='{columns}' class='empty'>{text}</td></tr>"
