"""ctransformers 0.2.27 behind the interface of ``answer.Engine``, through its C functions.

It gives the logits after the last token only, so claimed tokens are fed one by one, which costs as
much as to generate them.
"""

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

LIBRARY = "/opt/engine/site/libctransformers.so"
BATCH = 512
_BYTE = re.compile(rb"<0x([0-9A-F]{2})>")
_BYTES = re.compile(rb"(<0x[0-9A-F]{2}>)+")
"""How a converted file writes tokens that are parts of characters."""


class _Config(ctypes.Structure):
    _fields_ = (
        ("context_length", ctypes.c_int),
        ("gpu_layers", ctypes.c_int),
        ("mmap", ctypes.c_bool),
        ("mlock", ctypes.c_bool),
    )


class Ctransformers:
    """See ``answer.Engine``."""

    def __init__(self, path: str, context: int, threads: int, library: str = LIBRARY) -> None:
        self._api = _declare(ctypes.CDLL(library))
        config = _Config(context, 0, True, False)
        self._model = self._api.ctransformers_llm_create(path.encode(), b"gguf", config)
        if not self._model:
            raise ValueError("ctransformers cannot load the model")
        self._threads = threads
        self._fed = 0
        self.context = context
        self.vocabulary = int(self._api.ctransformers_llm_vocab_size(self._model))
        if self.vocabulary < 1:
            raise ValueError("the model has no vocabulary")
        if self._api.ctransformers_llm_context_length(self._model) < context:
            raise ValueError("ctransformers has no room for the context")
        self.batch = BATCH
        self.rows = 1
        self.ends = frozenset({int(self._api.ctransformers_llm_eos_token_id(self._model))})
        self._pieces: list[bytes] = []

    def pieces(self) -> Sequence[bytes]:
        """See ``answer.Engine``."""
        if not self._pieces:
            piece = self._api.ctransformers_llm_detokenize
            words = [piece(self._model, each) or b"" for each in range(self.vocabulary)]
            self._pieces = [
                _BYTE.sub(lambda found: bytes((int(found[1], 16),)), word)
                if _BYTES.fullmatch(word)
                else word
                for word in words
            ]
        return self._pieces

    def start(self) -> None:
        """See ``answer.Engine``."""
        self._fed = 0

    def feed(self, tokens: Sequence[int], rows: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """See ``answer.Engine``."""
        packed = (ctypes.c_int * len(tokens))(*tokens)
        if not self._api.ctransformers_llm_batch_eval(
            self._model, packed, len(tokens), self._fed, BATCH, self._threads
        ):
            raise ValueError("ctransformers failed")
        self._fed += len(tokens)
        if not rows:
            return np.empty((0, self.vocabulary), np.float32)
        if self._api.ctransformers_llm_logits_size(self._model) != self.vocabulary:
            raise ValueError("ctransformers gave no logits")
        found = self._api.ctransformers_llm_logits_data(self._model)
        return np.ctypeslib.as_array(found, (1, self.vocabulary))

    def keep(self, count: int) -> None:
        """See ``answer.Engine``."""
        self._fed = count


def _declare(library: ctypes.CDLL) -> Any:
    """The functions as in ``ctransformers/llm.py`` of the package."""
    model, number = ctypes.c_void_p, ctypes.c_int
    numbers, floats = ctypes.POINTER(number), ctypes.POINTER(ctypes.c_float)
    for name, arguments, result in (
        ("create", (ctypes.c_char_p, ctypes.c_char_p, _Config), model),
        ("detokenize", (model, number), ctypes.c_char_p),
        ("eos_token_id", (model,), number),
        ("vocab_size", (model,), number),
        ("context_length", (model,), number),
        ("batch_eval", (model, numbers, number, number, number, number), ctypes.c_bool),
        ("logits_data", (model,), floats),
        ("logits_size", (model,), number),
    ):
        function = getattr(library, f"ctransformers_llm_{name}")
        function.argtypes, function.restype = arguments, result
    return library
