"""``swarm model calibrate``: what checks of a model's answers catch, measured on this machine."""

import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from workunits.errors import LocalError

if TYPE_CHECKING:
    from client.calibration.measuring import Build, Study
    from client.calibration.report import Report
    from workunits.models.gguf import Gguf

PROMPTS = Path(__file__).parents[1] / "calibration" / "prompts.txt"
BUILDS = ("pinned", "fast")
MIB = 1 << 20
COST_TIMES = 2
WEIGHT = 1024
"""Somebody waits for these containers: they count like any other program of the machine."""


@command(
    examples=(
        "swarm model calibrate model.gguf",
        "swarm model calibrate model.gguf --check fast --also pinned",
        "swarm model calibrate model.gguf --answers 20 --tokens 32 --substitute Q2_K --json",
    ),
    tracker=False,
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@option(
    "--prompts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with a prompt on each line.  [default: 227 of ours]",
    show_default=False,
)
@option("--answers", type=click.IntRange(2, 100_000), default=200, help="How many prompts to ask.")
@option("--tokens", type=click.IntRange(2, 8192), default=128, help="Most tokens of an answer.")
@option(
    "--temperature",
    type=click.FloatRange(0, 2),
    default=0.0,
    help="Of the answers; 0 takes the best token.",
)
@option(
    "--check",
    "checker",
    envvar="SWARM_MODEL_CALIBRATE_CHECK",
    default="pinned",
    metavar="BUILD",
    help="Which llama.cpp checks: pinned, fast, or the content hash of an image.",
)
@option(
    "--also",
    multiple=True,
    metavar="BUILD",
    help="Another llama.cpp whose honest answers must stand. May be repeated.",
)
@option(
    "--lie",
    "told",
    envvar="SWARM_MODEL_CALIBRATE_LIE",
    multiple=True,
    metavar="NAME",
    help='What is done to honest answers: "cut off", "ended early", "one token edited", "one '
    'plausible token", "of another prompt", "random tokens", "one token steered", none. May be '
    "repeated.  [default: all]",
    show_default=False,
)
@option(
    "--substitute",
    "wanted",
    envvar="SWARM_MODEL_CALIBRATE_SUBSTITUTE",
    multiple=True,
    metavar="NAME",
    help="A cheaper version that a cheat may run: Q2_K, Q3_K_M, Q4_0, Q4_K_M, Q8_0, F16, "
    '"layer left out", none. May be repeated.  [default: all but F16]',
    show_default=False,
)
@option(
    "--cells", type=click.IntRange(1, 256), default=1, help="Containers at a time, a core each."
)
@option("--costs/--no-costs", default=True, help="Measure what checks cost, too.")
@option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Put every number into this JSON file, beside those of other calibrations.",
)
async def calibrate(
    call: Invocation,
    *,
    file: Path,
    prompts: Path | None,
    answers: int,
    tokens: int,
    temperature: float,
    checker: str,
    also: tuple[str, ...],
    told: tuple[str, ...],
    wanted: tuple[str, ...],
    cells: int,
    costs: bool,
    save: Path | None,
) -> None:
    """Measure what checking the answers of a model catches.

    FILE is a GGUF file; what is measured chooses thresholds for its card. The model answers many
    prompts; its answers are checked in one pass each, and so are answers that were shortened,
    edited, made up, or made by other versions of the model, which are quantised here for that.
    Takes about a second of a core for each answer and kind of claim with a model of 135 million
    parameters.
    """
    import hashlib

    from client.calibration import report as paper
    from client.calibration import variants
    from client.calibration.measuring import Bench, Study, requests_of
    from client.models.offer import read_named
    from sandbox import programs
    from sandbox.containers import DockerSandbox, DockerSettings
    from sandbox.engine import engine
    from sandbox.profile import Share
    from workunits.models.vocabulary import Vocabulary

    settings = (answers, tokens, temperature)
    lies = _lies(told)
    gguf = read_named(file)
    vocabulary = Vocabulary.of(gguf)
    substitutes = _substitutes(gguf, wanted)
    ids = _prompts(gguf, vocabulary, prompts or PROMPTS, answers)
    context = _context(gguf, max(map(len, ids)), tokens)
    memory = 4 * file.stat().st_size + 1024 * MIB + gguf.anatomy.cache_bytes(context)
    with engine(call.config.engine, call.note, install=False) as found:
        names = dict.fromkeys((checker, *also))
        builds = [await programs.in_thread(_build, call, found.url, name) for name in names]
        work = call.config.scratch / "calibration"
        sandbox = DockerSandbox(DockerSettings(found.url, work, (Share(weight=WEIGHT),) * cells))
        with _steps(call) as say:
            study = Study(
                Bench(sandbox, context, memory, cells),
                builds,
                file,
                requests_of(ids, tokens, round(1000 * temperature)),
                gguf.anatomy.vocabulary,
                frozenset(vocabulary.ends),
                say,
            )
            made = call.config.cache / "variants"
            made.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            paths = []
            try:
                for each in substitutes:
                    step = say(f"making {each.name}", 1)
                    path = made / f"{digest[:16]}-{each.name.replace(' ', '-')}.gguf"
                    if not path.exists():
                        image = builds[0].image
                        await variants.make(sandbox, image, file, gguf, each, path)
                    paths.append((each, path))
                    step()
                times = COST_TIMES if costs else 0
                await study.run(lies, paths, _cost_lengths(), times)
            finally:
                # One that is broken off leaves what it has found.
                if save is not None and study.findings.series:
                    paper.add(save, _report(gguf, digest, study, settings))
                await sandbox.close()
    _show(call, _report(gguf, digest, study, settings))


def _build(call: Invocation, docker: str, name: str) -> "Build":
    """An engine image by the name of its kernels, made if it is not there, or by its hash."""
    from client.calibration.measuring import Build
    from sandbox.models.build import Kernels, engine_image
    from workunits.models.program import Engine

    if name in BUILDS:
        kernels = Kernels(name)
        image = engine_image(Engine.LLAMA_CPP, docker, call.config.images, call.note, kernels)
        return Build(name, image)
    if not name.startswith("sha256:"):
        raise LocalError(
            f"{name!r} is no build of llama.cpp",
            hint="Say pinned, fast, or the content hash of an engine image.",
        )
    return Build(name[7:19], name)


def _substitutes(gguf: "Gguf", wanted: tuple[str, ...]) -> "list[Any]":
    from client.calibration.variants import VARIANTS, others

    if not wanted:
        return others(gguf)
    names = [name for name in wanted if name != "none"]
    for name in names:
        if name not in VARIANTS:
            raise LocalError(
                f"there is no substitute {name!r}", hint=f"There are {', '.join(VARIANTS)}."
            )
    return [VARIANTS[name] for name in names]


def _prompts(gguf: "Gguf", vocabulary: Any, path: Path, count: int) -> list[tuple[int, ...]]:
    """Token ids of the first ``count`` prompts, as messages if the model can chat."""
    from workunits.models.card import begun
    from workunits.models.template import Guard, Message, render
    from workunits.models.tokenizer import Tokenizer

    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line][:count]
    if len(lines) < count:
        raise LocalError(
            f"{path} has {len(lines)} prompts, and {count} answers are wanted",
            hint="Give more prompts, or say --answers.",
        )
    tokenizer = Tokenizer(vocabulary)
    template = gguf.metadata.get("tokenizer.chat_template", "")
    if not isinstance(template, str) or not template:
        return [begun(vocabulary, tokenizer.encode(line)) for line in lines]
    guard = Guard(tokenizer)
    named = {
        f"{name}_token": vocabulary.tokens[at] if at >= 0 else ""
        for name, at in (("bos", vocabulary.bos), ("eos", vocabulary.eos))
    }
    return [
        begun(
            vocabulary,
            guard.encode(render(template, [Message("user", line)], tokens=named, guard=guard)),
        )
        for line in lines
    ]


def _context(gguf: "Gguf", longest: int, tokens: int) -> int:
    """Room for the longest prompt, and for those of the costs where the model has it."""
    most = gguf.anatomy.context
    if longest + tokens > most:
        raise LocalError(
            f"prompts of {longest} tokens and answers of {tokens} are over the model's {most}",
            hint="Give shorter prompts, or say --tokens.",
        )
    return min(most, max(longest, *_cost_lengths()) + tokens)


def _cost_lengths() -> Sequence[int]:
    from client.calibration.measuring import COST_LENGTHS

    return COST_LENGTHS


def _lies(told: tuple[str, ...]) -> Sequence[str]:
    from client.calibration.claims import LIES

    names = [name for name in told if name != "none"]
    for name in names:
        if name not in LIES:
            raise LocalError(f"there is no lie {name!r}", hint=f"There are {', '.join(LIES)}.")
    return names if told else tuple(LIES)


def _report(
    gguf: "Gguf", digest: str, study: "Study", settings: tuple[int, int, float]
) -> "Report":
    from client.calibration.report import Report, choose
    from workunits.models.card import name_of, quantisation_of

    findings = study.findings
    answers, tokens, temperature = settings
    mean_gap, most_gap = choose(findings.series)
    return Report(
        model=name_of(gguf),
        sha256=digest,
        quantisation=quantisation_of(gguf),
        command=_command(),
        machine=_machine(),
        builds={build.name: build.image for build in study.builds},
        answers=answers,
        tokens=tokens,
        temperature=round(1000 * temperature),
        confirmed=findings.confirmed,
        disagreed=findings.disagreed,
        mean_gap=mean_gap,
        most_gap=most_gap,
        series=tuple(findings.series),
        costs=tuple(findings.costs),
    )


def _command() -> str:
    """This command line, without the folders of this machine."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(("swarm", *words))


def _machine() -> str:
    """The processor in words."""
    name = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


@contextmanager
def _steps(call: Invocation) -> "Iterator[Callable[[str, int], Callable[[], None]]]":
    """A bar for each part of the work; a line for each where nobody watches."""
    console = terminal.console()
    if call.json or not console.is_terminal:

        def note(what: str, count: int) -> Callable[[], None]:
            call.note(f"{what}: {count}")
            return lambda: None

        yield note
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:

        def say(what: str, count: int) -> Callable[[], None]:
            task = bar.add_task(what, total=count)
            return lambda: bar.advance(task)

        yield say


def _show(call: Invocation, report: "Report") -> None:
    from client.calibration import report as paper

    if call.json:
        terminal.show_json(report.value())
        return
    terminal.show_table(*paper.filled(paper.BRIEF_COLUMNS, paper.brief_rows(report)))
    if report.costs:
        terminal.show_table(paper.COST_COLUMNS, paper.cost_rows(report.costs))
    terminal.show_facts(paper.brief_facts(report))
