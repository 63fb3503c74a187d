"""``swarm submit``: publish a job, and serve its files."""

import shlex
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.jobs.quantities import format_seconds, format_size, plural
from workunits.ids import JobId, short

if TYPE_CHECKING:
    from client.jobs.jobfile import Draft
    from client.jobs.model import Preview
    from workunits.manifest import Manifest

PREVIEW = 5


@command(
    examples=(
        "swarm submit examples/mersenne/JOB.toml --dry-run",
        "swarm submit examples/mersenne --watch",
        "swarm submit JOB.toml --json | jq -r .id",
    ),
    key=True,
)
@click.argument("job", type=click.Path(path_type=Path), metavar="JOB.toml")
@option("--dry-run", is_flag=True, help="Show units, cost and mistakes; publish nothing.")
@option("--watch", is_flag=True, help="Stay, show progress, and serve the files of the job.")
async def submit(call: Invocation, job: Path, dry_run: bool, watch: bool) -> None:
    """Publish the job that a TOML file describes.

    The file is checked as a whole: every mistake is shown with its line. Submitting sets the
    credits aside that the job can cost. Files up to 1 MiB are handed to the tracker; larger ones
    are served from here, by --watch or by `swarm seed`.
    """
    from client.jobs.submission import publish

    draft = call.load_job(job)
    for doubt in draft.doubts:
        call.note(f"warning: {doubt}")
    if dry_run:
        _preview(call, draft)
        return
    async with AsyncExitStack() as stack:
        tracker = await stack.enter_async_context(call.tracker())
        if watch:  # before the job is known, so that the first volunteers find a peer
            from client.jobs.seeding import swarming

            files = draft.files.values()
            await stack.enter_async_context(swarming(call.config, call.config.home, files))
        view, left = await publish(tracker, draft, call.identity(), call.note)
        if call.json:
            terminal.show_json(view)
        else:
            cost = plural(draft.body.escrow, "credit")
            click.echo(f"job {view.id.hex()}: {plural(view.units, 'unit')}, {cost} set aside")
        if not watch:
            _next_steps(call, job, view.id, left)
            return
        from client.commands.watch import follow

        await follow(call, tracker, view.id)


def _next_steps(call: Invocation, job: Path, id_: JobId, left: list[Path]) -> None:
    if left:
        names = ", ".join(path.name for path in left[:5])
        call.note(
            f"not at the tracker: {names}; serve them with `swarm seed {shlex.quote(str(job))}`"
        )
    call.note(f"follow it with `swarm watch {short(id_)}`")


def _preview(call: Invocation, draft: "Draft") -> None:
    from client.jobs.verification import describe
    from client.views import DemandsView

    manifest = draft.body
    demands = replace(DemandsView.of(manifest.demands), ringers=bool(draft.answers))
    first = [manifest.unit(JobId(bytes(32)), at) for at in range(min(PREVIEW, manifest.units))]
    if call.json:
        terminal.show_json(
            {
                "name": manifest.name,
                "units": manifest.units,
                "price": manifest.price,
                "executions": manifest.executions,
                "escrow": manifest.escrow,
                "policy": manifest.policy,
                "comparator": manifest.comparator,
                "demands": demands,
                "ringers": len(draft.answers),
                "warnings": draft.doubts,
                "image": manifest.program.image,
                "layers": [
                    {"diff": layer.diff, "v2": layer.ref.v2, "length": layer.ref.length}
                    for layer in manifest.program.layers
                ],
                "limits": manifest.limits,
                "outputs": manifest.outputs,
                "blobs": [
                    {"path": path, "v2": ref.v2, "length": ref.length}
                    for ref, path in draft.files.items()
                ],
                "model": draft.preview,
                "first": [
                    {
                        "index": unit.id.index,
                        "parameters": unit.parameters,
                        "command": unit.command,
                        "inputs": [blob.name for blob in unit.inputs],
                    }
                    for unit in first
                ],
            }
        )
        return
    limits = manifest.limits
    size = sum(ref.length for ref in draft.files)
    terminal.show_facts(
        {
            "job": manifest.name,
            "units": manifest.units,
            **_asked(draft),
            "checking": describe(manifest.policy, manifest.comparator.kind, demands),
            "limits": f"{format_seconds(limits.cpu_seconds)} of CPU, "
            f"{format_seconds(limits.wall_seconds)}, {format_size(limits.memory_bytes)} of memory, "
            f"{format_size(limits.output_bytes)} of output",
            "image": manifest.program.image + (" (shared)" if manifest.shared else ""),
            "files": f"{len(draft.files):,} ({format_size(size)})",
            "outputs": ", ".join(manifest.outputs),
        }
    )
    for prompt in draft.preview.first if draft.preview else ():
        click.echo(f"prompt  {prompt[:80]!r}")
    for unit in () if draft.preview else first:
        inputs = f"  < {' '.join(blob.name for blob in unit.inputs)}" if unit.inputs else ""
        click.echo(f"unit {unit.id.index}  {shlex.join(unit.command)}{inputs}")
    if manifest.units > len(first) and not draft.preview:
        click.echo(f"and {plural(manifest.units - len(first), 'more unit')}")


def _asked(draft: "Draft") -> dict[str, str]:
    """What is asked of a model, and what it can cost at most."""
    manifest, asked = draft.body, draft.preview
    most = plural(manifest.escrow, "credit")
    if asked is None:
        return {
            "cost": f"{plural(manifest.units, 'unit')} x {plural(manifest.price, 'credit')} x "
            f"{plural(manifest.executions, 'execution')} = {most}"
        }
    return {
        "model": asked.model,
        "prompts": f"{asked.prompts:,}, {plural(asked.tokens, 'token')} in all, at most "
        f"{asked.longest:,} in one",
        "answers": f"up to {plural(asked.most, 'token')} each",
        "cost": f"at most {plural(_cost(manifest, asked), 'credit')}: "
        f"{plural(manifest.price, 'credit')} a token, half as much for checking",
        "set aside": f"{most}, as for prompts that fill the job's context; the rest comes back",
    }


def _cost(manifest: "Manifest", asked: "Preview") -> int:
    """Credits if each answer is as long as may be, and each prompt as long as the longest."""
    from workunits.models.answer import most_metered

    meter = most_metered(asked.most, asked.longest)
    return asked.prompts * sum(manifest.award(meter, at) for at in range(manifest.executions))
