"""``swarm`` whose tracker gives a request up 5 seconds after the last volunteer left, where others
wait for longer. For tests only. ``python -m tests.acceptance.hasty tracker serve ...``.
"""

from functools import partial

from openswarm.cli import main
from tracker import service
from tracker.work.floor import Patience

if __name__ == "__main__":
    service.serve = partial(service.serve, patience=Patience(alone=5.0))
    main()
