"""``swarm doctor``: what is wrong here, and the command that fixes it."""

import asyncio
import os

import click

from client import terminal
from client.commands.invocation import Invocation, command
from client.jobs.quantities import plural
from workunits.errors import LocalError


class SickError(LocalError):
    """Something that was looked at is wrong."""

    code = "doctor"


@command(examples=("swarm doctor", "swarm doctor --tracker http://tracker.example:8400"), key=True)
async def doctor(call: Invocation) -> None:
    """Look at the engine, the image, the tracker, the clock, the key, the disk and the processor.

    Says what is wrong and how to fix it; the exit status is 1 if anything is.
    """
    from client import doctor as checks
    from client.commands.volunteer import usable_memory
    from client.processor import has_avx2

    engine, tracker = await asyncio.gather(
        asyncio.to_thread(checks.check_engine, call.config, os.environ),
        checks.check_tracker(call.config),
    )
    findings = [
        *engine,
        *tracker,
        checks.check_key(call.config),
        checks.check_disk(call.config),
        checks.check_memory(usable_memory()),
        checks.check_processor(has_avx2=has_avx2()),
    ]
    wrong = [each for each in findings if not each.good]
    if call.json:
        terminal.show_json({"good": not wrong, "findings": findings})
    else:
        width = max(len(each.name) for each in findings)
        for each in findings:
            mark = click.style("ok", fg="green") if each.good else click.style("!!", fg="red")
            click.echo(f"{mark}  {each.name.ljust(width)}  {each.found}")
            if not each.good:
                click.echo(f"    {' ' * width}  fix: {click.style(each.fix, bold=True)}")
    if wrong:
        raise SickError(
            f"{plural(len(wrong), 'thing')} must be fixed: "
            + ", ".join(each.name for each in wrong),
            hint="Run the commands after 'fix:', then `swarm doctor` again.",
        )
