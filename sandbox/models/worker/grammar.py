"""Which tokens may come next, so that an answer is JSON, or what a JSON schema asks for.

This file is copied into the engine images, with ``automaton`` and the ``rules`` and ``schema`` of
``workunits.models``: standard library only.
"""

from collections.abc import Sequence

from sandbox.models.worker.automaton import Automaton, State
from workunits.models.schema import compile_form


class Grammar:
    """The tokens that a form allows.

    ``form`` is ``json`` for one JSON object, else a JSON schema as text. ``pieces`` are the bytes
    of each token, none for control tokens, which are never allowed; ``ends`` are the ids that end
    a text. Raises ``ValueError`` for a schema that is not supported.

    What is allowed depends on nothing but form and pieces, so every machine allows the same.
    """

    def __init__(self, form: str, pieces: Sequence[bytes], ends: frozenset[int]) -> None:
        self._automaton = Automaton(compile_form(form))
        self._pieces = pieces
        self._ends = ends

    def start(self) -> State:
        """Before the first token."""
        return self._automaton.start()

    def done(self, state: State) -> bool:
        """Whether the text is complete; it may be that more could come, as after a digit."""
        return state.done

    def allows(self, state: State, token: int) -> bool:
        """Whether ``token`` may come next: each of its bytes, or an end where the text is done."""
        return self._step(state, token) is not None

    def next(self, state: State, token: int) -> State:
        """The state after ``token``. Raises ``ValueError`` if it is not allowed."""
        found = self._step(state, token)
        if found is None:
            raise ValueError(f"token {token} is not allowed here")
        return found

    def _step(self, state: State, token: int) -> State | None:
        if token in self._ends:
            return state if state.done else None
        if not 0 <= token < len(self._pieces) or not self._pieces[token]:
            return None
        return self._automaton.walk(state, self._pieces[token])
