"""The first verified result on a fresh machine: that is what the demo shows."""

from bench.row import Row, Setting

WHAT = "first verified result on a fresh machine, image build included"
BUDGET = "90 s"


def measure(setting: Setting) -> Row:
    """A benchmark does not make a machine fresh; ``make demo`` on one prints its seconds."""
    return Row.skipped(WHAT, BUDGET, "see make demo on a fresh machine")
