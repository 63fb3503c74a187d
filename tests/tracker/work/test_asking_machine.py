"""Units that somebody waits for under random peers, random time, random listeners: what must hold,
always holds."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.tracker.work.chat import MARGIN, REFUSAL, Chat, Ears, a_request, answered, lie, truth
from tests.tracker.work.crowd import MANY, Crowd
from tests.tracker.work.world import PATIENCE, Actor
from tracker.rows import ContentRow
from tracker.work.state import Unit
from tracker.work.table import Doing, Stage
from workunits.errors import RefusedError
from workunits.ids import LeaseToken
from workunits.models.answer import Answer, Finish
from workunits.models.request import Request

KINDS = ("honest", "honest", "honest", "liar", "lazy", "silent")
CORES = 2


class Asked(Crowd):
    """Any number of things happens in any order. After each, the invariants hold."""

    def __init__(self) -> None:
        self.chat = Chat()
        super().__init__(self.chat.world)
        self.margin = Chat(self.world, comparator=MARGIN)
        self.ears: list[tuple[Chat, Request, Unit, Ears]] = []
        self.said: dict[LeaseToken, int] = {}

    @initialize()
    def start(self) -> None:
        """Somebody is there from the start."""
        for at, kind in enumerate(KINDS):
            actor = self.world.actor(f"{kind}{at}", connect=False)
            self.kinds[self.chat.join(actor, cores=CORES)] = kind

    places = st.integers(0, 1000)

    @rule(
        mosts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
        stream=st.booleans(),
        urgent=st.booleans(),
        exact=st.booleans(),
    )
    def ask(self, mosts: list[int], stream: bool, urgent: bool, exact: bool) -> None:
        """Requests come."""
        chat = self.chat if exact else self.margin
        for most in mosts:
            request = a_request(len(self.ears), most=most)
            try:
                unit, ears = chat.ask(request, stream=stream, urgent=urgent)
            except RefusedError:
                assert chat.job.id not in self.world.desk.jobs
            else:
                self.ears.append((chat, request, unit, ears))

    @precondition(lambda self: self.ears)
    @rule(at=places, after=st.integers(0, 12))
    def halt(self, at: int, after: int) -> None:
        """Somebody needs no more."""
        _, _, unit, _ = self.ears[at % len(self.ears)]
        self.world.desk.halt(unit, after, self.world.now)
        self.world.pump()

    @precondition(lambda self: self.ears)
    @rule(at=places)
    def dismiss(self, at: int) -> None:
        """Somebody listens no more."""
        _, _, unit, ears = self.ears[at % len(self.ears)]
        if at % 3 and not ears.heard:
            return
        self.world.desk.dismiss(unit, self.world.now)
        self.world.pump()

    @rule(at=Crowd.actors, hold=st.integers(0, 3), held=st.booleans())
    def connect(self, at: int, hold: int, held: bool) -> None:
        """An actor connects, perhaps while an older session of it stands."""
        actor = self.pick(at)
        try:
            self.chat.join(actor, hold=hold, cores=CORES, held=held)
        except RefusedError:
            assert self.world.desk.peers[actor.key].banned

    @rule(at=Crowd.actors, count=st.integers(1, 6))
    def speak(self, at: int, count: int) -> None:
        """An actor says some more tokens."""
        actor = self.pick(at)
        for token in sorted(actor.leases) if actor.connected else ():
            said, start = self.answer_of(actor, token), self.said.get(token, 0)
            ids = said.tokens[start : start + count] if said else ()
            if said and ids and start + len(ids) < len(said.tokens):
                self.chat.say(actor, ids, start=start, token=token)
                self.said[token] = start + len(ids)

    @rule(at=Crowd.actors)
    def commit(self, at: int) -> None:
        """An actor says the rest and commits."""
        if self.pick(at).connected:
            self.work(self.pick(at))

    @rule()
    def go_on(self) -> None:
        """Everybody does what is to be done."""
        for act in (self.work, self.show):
            for actor in self.present:
                act(actor)

    def answer_of(self, actor: Actor, token: LeaseToken) -> Answer | None:
        """What an actor answers; None where it refuses."""
        ask, kind = actor.asks[token], self.kinds[actor]
        assert ask.request is not None
        halt = actor.halts.get(token, 0) or ask.halt
        if halt and self.said.get(token, 0) > halt:
            halt = self.said[token]
        if kind == "lazy" and ask.finish:
            return Answer(ask.given, ask.finish, ask.request.nonce)
        right = truth(ask.request, halt)
        is_margin = actor.leases[token].job == self.margin.job.id
        if kind != "liar" and is_margin and ask.finish and ask.given != right.tokens:
            return None
        return lie(ask.request) if kind == "liar" and not halt else right

    def work(self, actor: Actor) -> None:
        for token in sorted(actor.leases):
            if token not in actor.leases:
                continue
            said = self.answer_of(actor, token)
            if said is None:
                self.chat.commit(actor, REFUSAL, token)
                continue
            request = actor.asks[token].request
            assert request is not None
            start = self.said.get(token, 0)
            self.chat.say(actor, said.tokens[start:], start=start, finish=said.finish, token=token)
            self.said[token] = len(said.tokens)
            if token in actor.leases:
                self.chat.commit(actor, answered(request, said), token)

    @rule(
        seconds=st.sampled_from(
            [0.0, 1.0, PATIENCE.first + 1, PATIENCE.check, PATIENCE.alone, PATIENCE.reveal, 200.0]
        )
    )
    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.world.tick(seconds)

    @rule()
    def restart(self) -> None:
        """The tracker restarts: who waited hears nothing any more, and asks again."""
        self.world.restart()
        for chat in (self.chat, self.margin):
            chat.job = self.world.desk.jobs.get(chat.job.id, chat.job)
            if chat.job.id in self.world.desk.jobs:
                assert not chat.job.units
                assert chat.job.reserved == 0
        self.ears = [each for each in self.ears if each[3].ends]

    @precondition(lambda self: self.chat.job.id in self.world.desk.jobs and len(self.ears) > 6)
    @rule()
    def cancel(self) -> None:
        """The job is over."""
        self.world.cancel(self.chat.job)
        for chat, _, _, ears in self.ears:
            assert chat is not self.chat or ears.ends == 1

    @invariant()
    def books_balance(self) -> None:
        """Every credit is somewhere, and what is reserved is there."""
        book = self.world.desk.book
        assert book.total() == 0
        for job in self.world.desk.jobs.values():
            assert job.paid + book.escrowed(job.id) == job.manifest.escrow
            assert 0 <= job.reserved <= book.escrowed(job.id)
            queries = {unit.query for unit in job.units.values()}
            assert job.reserved == sum(each.reserve for each in queries if each)

    @invariant()
    def everybody_hears_the_truth_in_order(self) -> None:
        """A verdict is the right answer, or a part of it; tokens have no gaps and come once."""
        for _, request, _, ears in self.ears:
            assert ears.ends <= 1
            given = {truth(request).tokens, lie(request).tokens}
            assert any(tuple(ears.heard) == each[: len(ears.heard)] for each in given)
            if ears.finish is Finish.LENGTH:
                assert len(ears.heard) == request.most
            if ruling := ears.ruling:
                right = truth(request, len(ruling.answer.tokens))
                voters = [ruling.worker, *ruling.validators]
                fooled = {self.kinds[self.world.actors[each]] for each in voters} == {
                    "liar",
                    "lazy",
                }
                assert ruling.answer == right or fooled
                assert ruling.validators
                assert ruling.cost > 0

    @invariant()
    def whoever_waits_is_somewhere(self) -> None:
        """A unit without a verdict is with a peer, drawn for one, or in line."""
        desk = self.world.desk
        waiting = {unit for line in desk._routing._lines for each in line.values() for unit in each}
        live = {unit for job in desk.jobs.values() for unit in job.units.values()}
        assert waiting <= live
        for unit in live:
            query = unit.query
            assert query is not None
            assert not query.over
            assert (unit in waiting) == (unit.stage is Stage.OPEN)
            if unit.stage is Stage.COMPUTING:
                assert unit.leased or unit.drawn or unit.index in unit.job.waiting
            assert len(unit.leased) <= 1 + (not unit.committed)

    @invariant()
    def seats_are_counted(self) -> None:
        """Nobody has more at once than it has cores for."""
        floor = self.world.desk.floor
        assert not floor.freed
        assert floor.claimed == sum(
            len(each.claim.ids) for each in floor.executions.values() if each.claim
        )
        for peer in floor.peers.values():
            doing = [each for each in peer.live.values() if each.doing is Doing.LEASED]
            assert peer.seats == sum(each.unit.query is not None for each in doing)
            assert peer.leased == len(doing)
            assert peer.burden == sum(each.claim.weight for each in doing if each.claim)
            assert peer.seats <= CORES + 1

    @invariant()
    def nobody_is_paid_for_nothing(self) -> None:
        """Who never shows anything has nothing; nothing that was said is kept."""
        for actor, kind in self.kinds.items():
            if kind == "silent":
                assert self.world.balance(actor) == 0
        assert not any(isinstance(row, ContentRow) for row in self.world.rows)

    def teardown(self) -> None:
        """With honest peers and time enough everybody who waits hears the end, and the ledger
        holds."""
        for at in range(4):
            helper = self.world.actor(f"helper{at}", connect=False)
            self.kinds[self.chat.join(helper, cores=CORES)] = "honest"
        for count in range(40):
            if not any(job.units for job in self.world.desk.jobs.values()):
                break
            if count % 8 == 7:
                late = self.world.actor(f"late{count}", connect=False)
                self.kinds[self.chat.join(late, cores=CORES)] = "honest"
            self.go_on()
            self.go_on()
            self.world.tick(PATIENCE.reveal + 1)
            self.books_balance()
        assert not any(job.units for job in self.world.desk.jobs.values())
        assert all(ears.ends == 1 for *_, ears in self.ears)
        assert all(job.reserved == 0 for job in self.world.desk.jobs.values())
        self.everybody_hears_the_truth_in_order()
        self.world.audit()


TestAsked = Asked.TestCase
TestAsked.settings = settings(MANY, max_examples=50)
