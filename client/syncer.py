"""Group commit: one thread that puts things on disk, for those who must not wait for the disk."""

import logging
import time
from collections.abc import Callable
from threading import Condition, Thread

log = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds from one round of syncs to the next; all that was submitted meanwhile shares one."""

Work = Callable[[], None]


class Syncer:
    """Runs what is submitted, each work once a round however often it was submitted.

    A work gathers what there is to do when it runs; it takes care of its own errors. All methods
    may be called from any thread.
    """

    def __init__(self, pause: float = PAUSE) -> None:
        self._pause = pause
        self._state = Condition()
        self._queue: dict[Work, None] = {}
        self._running: set[Work] = set()
        self._hurried = 0
        self._closing = False
        self._thread: Thread | None = None

    def submit(self, work: Work) -> bool:
        """Run ``work`` soon. Does not wait. False once closed."""
        with self._state:
            if self._closing:
                return False
            self._queue[work] = None
            if self._thread is None:
                self._thread = Thread(target=self._run, name="syncer", daemon=True)
                self._thread.start()
            self._state.notify_all()
            return True

    def wait(self, work: Work) -> None:
        """Wait until ``work``, submitted before, has run; without the pause."""
        with self._state:
            self._hurried += 1
            self._state.notify_all()
            self._state.wait_for(lambda: work not in self._queue and work not in self._running)
            self._hurried -= 1

    def close(self) -> None:
        """Run what was submitted, and take no more. May be called again."""
        with self._state:
            self._closing = True
            self._state.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        due = 0.0
        while True:
            with self._state:
                self._state.wait_for(lambda: self._queue or self._closing)
                while not (self._hurried or self._closing):
                    left = due - time.monotonic()
                    if left <= 0:
                        break
                    self._state.wait(left)
                if not self._queue:
                    return
                works = list(self._queue)
                self._queue.clear()
                self._running.update(works)
            for work in works:
                try:
                    work()
                except Exception:
                    log.exception("a sync failed")
            with self._state:
                self._running.clear()
                self._state.notify_all()
            due = time.monotonic() + self._pause
