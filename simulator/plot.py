"""The plot: wrong results that were accepted against what checking cost, as SVG.

Grey on nothing, so that it reads on a light and on a dark page. The colour is the policy, the
shape the attack; where nothing wrong was accepted the mark stands on a line of its own, below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, floor, log10, pi, sin
from xml.sax.saxutils import escape

from simulator.table import Row, share

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 16, 52
ZERO = 26
"""Pixels between the lowest decade and the line of zeros."""

INK = "#808080"
COLOURS = ("#4477aa", "#ee6677", "#228833", "#bb9900", "#33aadd", "#aa3377", "#dd7744", "#7766cc")
"""After Paul Tol's bright scheme, darkened where it would vanish on white."""

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
"""Executions between two ticks."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a value stands, in pixels."""

    left: float
    right: float
    low: int
    high: int

    def x(self, executions: float) -> float:
        """Executions per unit, linear."""
        share = (executions - self.left) / (self.right - self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, wrong: float) -> float:
        """Wrong share, logarithmic."""
        if not wrong:
            return HEIGHT - BOTTOM
        share = (log10(wrong) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - ZERO - share * (HEIGHT - BOTTOM - ZERO - TOP)


def plot(rows: Sequence[Row]) -> str:
    """The SVG document."""
    frame = _frame(rows)
    policies = list(dict.fromkeys(row.policy for row in rows))
    attacks = list(dict.fromkeys(row.attack for row in rows))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" '
        'aria-label="Wrong results accepted against executions per unit">'
    )
    parts = [opening, *_axes(frame)]
    for row in rows:
        colour = COLOURS[policies.index(row.policy) % len(COLOURS)]
        mark = _mark(
            frame.x(row.executions), frame.y(row.wrong_accepted), attacks.index(row.attack), colour
        )
        parts.append(f"<g><title>{escape(_title(row))}</title>{mark}</g>")
    x, y = WIDTH - RIGHT + 24, TOP + 8
    for at, name in enumerate(policies):
        parts += [_mark(x, y, 0, COLOURS[at % len(COLOURS)]), _text(x + 12, y + 4, escape(name))]
        y += 18
    y += 10
    for at, name in enumerate(attacks):
        parts += [_mark(x, y, at, INK), _text(x + 12, y + 4, name)]
        y += 18
    return "\n".join([*parts, "</svg>", ""])


def _frame(rows: Sequence[Row]) -> Frame:
    wrong = [row.wrong_accepted for row in rows if row.wrong_accepted]
    most = max((row.executions for row in rows), default=2.0)
    low = floor(log10(min(wrong, default=1e-4)))
    high = ceil(log10(max(wrong, default=1.0)))
    return Frame(0.9, max(most * 1.05, 2.1), low, max(high, low + 1))


def _axes(frame: Frame) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [_line(LEFT, bottom, right, bottom), _text(LEFT - 8, bottom + 4, "0", "end")]
    for power in range(frame.low, frame.high + 1):
        y = frame.y(10.0**power)
        raised = f'10<tspan dy="-4" font-size="9">{power}</tspan>'
        parts += [_line(LEFT, y, right, y, faint=True), _text(LEFT - 8, y + 4, raised, "end")]
    span = frame.right - frame.left
    step = next((each for each in STEPS if span / each <= 8), span)
    value = ceil(frame.left / step) * step
    while value <= frame.right:
        x = frame.x(value)
        parts += [_line(x, bottom, x, bottom + 5), _text(x, bottom + 19, f"{value:g}", "middle")]
        value = round(value + step, 6)
    middle = (TOP + bottom) / 2
    parts.append(_text((LEFT + right) / 2, bottom + 40, "executions per unit", "middle"))
    parts.append(
        f'<text x="16" y="{middle:.1f}" text-anchor="middle" fill="{INK}" '
        f'transform="rotate(-90 16 {middle:.1f})">wrong results, of those accepted</text>'
    )
    return parts


def _title(row: Row) -> str:
    rate = "" if row.sabotage is None else f", s = {row.sabotage:g}"
    return (
        f"{row.policy}, {row.attack}, f = {row.attackers:g}{rate}: "
        f"{share(row.wrong_accepted)} wrong at {row.executions:.2f}"
    )


def _mark(x: float, y: float, shape: int, colour: str) -> str:
    """A disc, then polygons of three corners and more; full, then hollow, then pale."""
    fill = (0.8, 0, 0.35)[shape // 4 % 3]
    paint = f'fill="{colour}" fill-opacity="{fill}" stroke="{colour}" stroke-width="1.5"'
    if shape % 4 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {paint}/>'
    corners = shape % 4 + 2
    turned = (2 * pi * at / corners - pi / 2 for at in range(corners))
    points = " ".join(f"{x + 5 * cos(at):.1f},{y + 5 * sin(at):.1f}" for at in turned)
    return f'<polygon points="{points}" {paint}/>'


def _line(x1: float, y1: float, x2: float, y2: float, *, faint: bool = False) -> str:
    opacity = 0.25 if faint else 0.8
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{INK}" stroke-opacity="{opacity}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{text}</text>'
