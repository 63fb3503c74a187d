"""The tracker's one page: what goes on, for people with a browser. Works without scripts."""

from html import escape
from importlib.resources import files

from aiohttp import web

from tracker.api import views
from tracker.sessions import Sessions
from workunits.ids import short

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
MAX_ROWS = 50


class Pages:
    """HTML for one tracker."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._frame = files("tracker").joinpath("page.html").read_text()

    def routes(self) -> list[web.RouteDef]:
        """The page's address."""
        return [web.get("/", self.index)]

    async def index(self, _: web.Request) -> web.Response:
        """Jobs, peers and the books at this moment."""
        desk, wall = self._sessions.desk, self._sessions.wall()
        jobs = [views.live_job(job) for job in list(desk.jobs.values())[:MAX_ROWS]]
        peers = sorted(desk.peers.values(), key=lambda each: -each.right)[:MAX_ROWS]
        text = self._frame.format(
            jobs="".join(map(_job, jobs)) or _empty(5, "No job is active."),
            peers="".join(_peer(views.peer(each, desk.book.operator, wall)) for each in peers)
            or _empty(6, "No peer has come yet."),
            connected=len(self._sessions),
            entries=f"{desk.book.entries:,}",
            minted=f"{desk.book.minted:,}",
            total=desk.book.total(),
            head=short(desk.book.head),
        )
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


def _row(cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _empty(columns: int, text: str) -> str:
    return f"<tr><td colspan='{columns}' class='empty'>{text}</td></tr>"
