"""Ask engines, lie about their answers, and measure what a check says of all of it."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from client.calibration.claims import LIES, NEAR, Claim, cases
from client.calibration.variants import Variant
from sandbox.models.runtime import (
    Answered,
    Gaps,
    Given,
    ModelCell,
    ModelRuntime,
    ModelSpec,
    Question,
    Spoken,
)
from sandbox.runner import Limits
from validators.calibration import HONEST, Sample
from workunits.models.program import Engine
from workunits.models.request import NONCE_SIZE, Request, Sampling

SEED = 5
CPU_SECONDS = 10 * 24 * 3600.0
WALL_SECONDS = 900.0
"""Of one answer: far less than a container lives, or each would have one of its own."""
COST_LENGTHS = (32, 256, 1024)
"""Tokens of the prompts at which costs are compared."""


@dataclass(frozen=True, slots=True)
class Build:
    """An engine image under a name for people."""

    name: str
    image: str


@dataclass(frozen=True, slots=True)
class Series:
    """Claims of one kind, all checked by one build.

    ``claims`` is what they are: honest, a lie, or the substitute that made them; ``maker`` and
    ``checker`` are builds. ``same`` is how many are the maker's honest answers token by token.
    ``means`` and ``mosts`` are gaps in logits, infinite where a claim cannot be an answer; without
    them only ``same`` is known. ``near`` are claims that margins are not meant to find.
    """

    claims: str
    maker: str
    checker: str
    count: int
    same: int
    means: tuple[float, ...] = ()
    mosts: tuple[float, ...] = ()
    near: bool = False

    @property
    def exact(self) -> int:
        """How many an exact check accepts: they have no gap at all."""
        return sum(most == 0 for most in self.mosts) if self.mosts else self.same

    def samples(self) -> Iterator[Sample]:
        """For the choice of thresholds."""
        for mean, most in zip(self.means, self.mosts, strict=True):
            yield Sample(self.claims, mean, most)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of answers and of their checks. ``prompt`` and ``tokens`` are means."""

    maker: str
    checker: str
    answers: int
    prompt: float
    tokens: float
    making: float
    checking: float

    @property
    def share(self) -> float:
        """What checking costs, as a share of answering."""
        return self.checking / self.making if self.making else math.inf


@dataclass(slots=True)
class Findings:
    """What was measured so far."""

    series: list[Series] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    disagreed: int = 0
    """Honest answers that an exact check of the same build did not confirm."""

    confirmed: int = 0


@dataclass(frozen=True, slots=True)
class Bench:
    """Where answers are made: ``cells`` containers of one core each at a time."""

    runtime: ModelRuntime
    context: int
    memory: int
    cells: int = 1

    @asynccontextmanager
    async def serving(self, build: Build, model: Path) -> AsyncIterator[list[ModelCell]]:
        """Loaded cells, closed at the end."""
        limits = Limits(CPU_SECONDS, WALL_SECONDS, self.memory, 0)
        spec = ModelSpec(Engine.LLAMA_CPP, build.image, model, self.context, limits)
        opened: list[ModelCell] = []
        try:
            for _ in range(self.cells):
                opened.append(await self.runtime.serve(spec))  # noqa: PERF401 - closed if it fails
            yield opened
        finally:
            for cell in opened:
                await cell.close()


async def ask(
    cells: Sequence[ModelCell], questions: Sequence[Question], step: Callable[[], None]
) -> list[tuple[Answered, Claim]]:
    """The answers to ``questions``, in order, with the second best tokens if asked for."""
    found: dict[int, tuple[Answered, Claim]] = {}
    left = iter(enumerate(questions))
    async with asyncio.TaskGroup() as group:
        for cell in cells:
            group.create_task(_work(cell, left, found, step))
    return [found[index] for index in range(len(questions))]


async def _work(
    cell: ModelCell,
    left: Iterator[tuple[int, Question]],
    found: dict[int, tuple[Answered, Claim]],
    step: Callable[[], None],
) -> None:
    for index, question in left:
        second: list[tuple[int, float]] = []

        def hear(spoken: Spoken, second: list[tuple[int, float]] = second) -> None:
            second.extend(_second(likely) for likely in spoken.likely)

        answered = await cell.answer(question, hear)
        found[index] = (answered, Claim(answered.tokens, answered.finish, tuple(second)))
        step()


def _second(likely: Sequence[tuple[int, float]]) -> tuple[int, float]:
    """The best token that is not the one taken, and how far it is below that."""
    (_, taken), (token, value) = likely[0], likely[1]
    return token, taken - value


def requests_of(prompts: Sequence[tuple[int, ...]], tokens: int, temperature: int) -> list[Request]:
    """One request for each prompt, each with a seed of its own; ``temperature`` is per mille."""
    return [
        Request(prompt, tokens, 1000 + index, _nonce(index), Sampling(temperature))
        for index, prompt in enumerate(prompts)
    ]


def _nonce(index: int) -> bytes:
    return hashlib.sha256(index.to_bytes(8, "big")).digest()[:NONCE_SIZE]


@dataclass(slots=True)
class Study:
    """One calibration: ``builds[0]`` checks, all of them answer."""

    bench: Bench
    builds: Sequence[Build]
    model: Path
    requests: Sequence[Request]
    vocabulary: int
    ends: frozenset[int]
    say: Callable[[str, int], Callable[[], None]]
    """Told what begins and how many steps it has; gives what to call after each."""

    findings: Findings = field(default_factory=Findings)
    _honest: dict[str, list[Claim]] = field(default_factory=dict)
    _cells: list[ModelCell] = field(default_factory=list)

    async def run(
        self,
        lies: Sequence[str],
        substitutes: Sequence[tuple[Variant, Path]],
        lengths: Sequence[int] = (),
        times: int = 0,
    ) -> Findings:
        """Measure everything. ``lengths`` and ``times`` are of ``_costs``.

        Raises what ``ModelRuntime.serve`` and ``ModelCell.answer`` raise.
        """
        checker, *others = self.builds
        async with self.bench.serving(checker, self.model) as self._cells:
            await self._own()
            for build in others:
                self._honest[build.name] = await self._answers(build.name, build, self.model)
                await self._check(HONEST, build, self._honest[build.name])
            for name in lies:
                await self._check(name, checker, self._lies(name), near=name in NEAR)
            for variant, path in substitutes:
                if self._is_exact and not others:
                    await self._compare(variant.name, path)
                else:
                    made = await self._answers(variant.name, checker, path)
                    await self._check(variant.name, checker, made, near=variant.near)
            if times:
                await self._costs(lengths, times)
        return self.findings

    async def _own(self) -> None:
        """The answers of the checker, checked by itself, as exactly as it can."""
        checker = self.builds[0]
        step = self.say(f"answers of {checker.name}", len(self.requests))
        questions = [Question(request, top=2) for request in self.requests]
        honest = [claim for _, claim in await ask(self._cells, questions, step)]
        self._honest[checker.name] = honest
        step = self.say("exact checks", len(honest))
        questions = [_exactly(*pair) for pair in zip(self.requests, honest, strict=True)]
        exact = await ask(self._cells, questions, step)
        agreed = [one.bare == two.bare for (_, one), two in zip(exact, honest, strict=True)]
        self.findings.disagreed += agreed.count(False)
        self.findings.confirmed += agreed.count(True)
        await self._check(HONEST, checker, honest)

    async def _answers(self, name: str, build: Build, model: Path) -> list[Claim]:
        """What another build, or another version of the model, answers."""
        step = self.say(f"answers of {name}", len(self.requests))
        questions = [Question(request) for request in self.requests]
        async with self.bench.serving(build, model) as cells:
            return [claim for _, claim in await ask(cells, questions, step)]

    async def _compare(self, name: str, path: Path) -> None:
        """Count the answers that a substitute gives token by token.

        One pass of the substitute over an honest answer tells whether it would have said the same,
        and an exact check accepts what is the same: that needs no second pass.
        """
        checker = self.builds[0]
        pairs = zip(self.requests, self._honest[checker.name], strict=True)
        questions = [_by_margins(request, claim) for request, claim in pairs]
        step = self.say(f"comparing {name}", len(questions))
        async with self.bench.serving(checker, path) as cells:
            found = await ask(cells, questions, step)
        same = sum(one.gaps is not None and one.gaps.most == 0 for one, _ in found)
        self.findings.series.append(Series(name, checker.name, checker.name, len(found), same))

    async def _costs(self, lengths: Sequence[int], times: int) -> None:
        """Compare costs: of the first ``times`` answers that are as long as they may be, and for
        prompts of so many tokens, cut out of those that there are."""
        honest = self._honest[self.builds[0].name]
        pairs = zip(self.requests, honest, strict=True)
        full = [request for request, claim in pairs if len(claim.tokens) == request.most]
        pool = [token for request in self.requests for token in request.prompt]
        most = self.requests[0].most
        sets = [full[:times]] + [
            requests_of([_cut(pool, at * length, length) for at in range(times)], most, 0)
            for length in lengths
            if length + most <= self.bench.context
        ]
        for requests in sets:
            step = self.say("costs", 2 * len(requests))
            cell = self._cells[:1]
            made = [one for one, _ in await ask(cell, [Question(each) for each in requests], step)]
            form = _exactly if self._is_exact else _by_margins
            checks = [
                form(request, Claim(one.tokens, one.finish))
                for request, one in zip(requests, made, strict=True)
            ]
            self._add_cost(requests, made, [one for one, _ in await ask(cell, checks, step)])

    @property
    def _is_exact(self) -> bool:
        """Whether the checking build confirms its own answers bit by bit."""
        return not self.findings.disagreed

    async def _check(
        self, name: str, maker: Build, claims: Sequence[Claim | None], *, near: bool = False
    ) -> None:
        """Measure the gaps of ``claims``, one for each request or None."""
        checker, honest = self.builds[0], self._honest[maker.name]
        asked = [
            (request, claim, own)
            for request, claim, own in zip(self.requests, claims, honest, strict=True)
            if claim is not None
        ]
        step = self.say(f"checks: {name}", len(asked))
        questions = [_by_margins(request, claim) for request, claim, _ in asked]
        found = [one for one, _ in await ask(self._cells, questions, step)]
        gaps = [each.gaps or Gaps(math.inf, math.inf) for each in found]
        self.findings.series.append(
            Series(
                claims=name,
                maker=maker.name,
                checker=checker.name,
                count=len(asked),
                same=sum(claim.bare == own.bare for _, claim, own in asked),
                means=tuple(each.mean for each in gaps),
                mosts=tuple(each.most for each in gaps),
                near=near,
            )
        )

    def _lies(self, name: str) -> list[Claim | None]:
        honest = self._honest[self.builds[0].name]
        rng = Random(f"{SEED} {name}")  # noqa: S311 - not a secret
        return [
            LIES[name](case, rng)
            for case in cases(self.requests, honest, self.vocabulary, self.ends)
        ]

    def _add_cost(
        self, requests: Sequence[Request], made: Sequence[Answered], checked: Sequence[Answered]
    ) -> None:
        """Costs of those answers that are as long as they may be."""
        build = self.builds[0]
        full = [
            (request, one, two)
            for request, one, two in zip(requests, made, checked, strict=True)
            if len(one.tokens) == request.most
        ]
        if full:
            self.findings.costs.append(
                Cost(
                    maker=build.name,
                    checker=build.name,
                    answers=len(full),
                    prompt=sum(len(request.prompt) for request, _, _ in full) / len(full),
                    tokens=sum(len(one.tokens) for _, one, _ in full) / len(full),
                    making=math.fsum(one.cpu_seconds for _, one, _ in full),
                    checking=math.fsum(two.cpu_seconds for _, _, two in full),
                )
            )


def _exactly(request: Request, claim: Claim) -> Question:
    return Question(request, Given(claim.tokens, claim.finish))


def _by_margins(request: Request, claim: Claim) -> Question:
    return Question(request, Given(claim.tokens, claim.finish), margins=True)


def _cut(pool: Sequence[int], start: int, length: int) -> tuple[int, ...]:
    return tuple(pool[(start + at) % len(pool)] for at in range(length))
