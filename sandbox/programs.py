"""Running the system's own programs, so that an interrupt of ours leaves nothing of theirs."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

TIDY_SECONDS = 20.0


def run(
    command: Sequence[str], environment: Mapping[str, str], *, finish: bool = False
) -> "subprocess.CompletedProcess[bytes]":
    """Run ``command`` to its end, out of reach of a terminal's Ctrl-C.

    When this process is interrupted, the program and all that it started are told to end, and get
    ``TIDY_SECONDS`` to tidy up. With ``finish`` it is waited for, because half of what it does
    would be worse than all of it.
    """
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, errors = process.communicate()
        except BaseException:
            if not finish:
                _end(process)
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=TIDY_SECONDS)
            return
