"""llama.cpp behind the interface of ``answer.Engine``, through its C functions.

Numbers are the same for any number of threads and any batch in the build of ``models.build`` and
with the settings here: no flash attention, a cache per sequence, no tiled matrix products.
"""

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

# Read once by the library, at the first product of a K-quantised matrix.
os.environ["GGML_CPU_TILED_MM"] = "0"

from llama_cpp import llama_cpp as api

BATCH = 512
SCORED = 12 << 20
"""Most bytes of logits that are computed in one pass."""


class Llama:
    """See ``answer.Engine``."""

    def __init__(self, path: str, context: int, threads: int) -> None:
        api.llama_backend_init()
        if b"AVX2 = 1" not in api.llama_print_system_info():
            raise ValueError("this build of llama.cpp is not for AVX2")
        wanted = api.llama_model_default_params()
        wanted.n_gpu_layers = 0
        self._model: Any = api.llama_model_load_from_file(path.encode(), wanted)
        if not self._model:
            raise ValueError("llama.cpp cannot load the model")
        settings = api.llama_context_default_params()
        settings.n_ctx = context
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_seq_max = 1
        settings.n_threads = settings.n_threads_batch = threads
        settings.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.kv_unified = False
        settings.offload_kqv = False
        settings.no_perf = True
        self._context: Any = api.llama_init_from_model(self._model, settings)
        if not self._context:
            raise ValueError("llama.cpp has no room for the context")
        self._memory: Any = api.llama_get_memory(self._context)
        self._words: Any = api.llama_model_get_vocab(self._model)
        self._batch = api.llama_batch_init(BATCH, 0, 1)
        for index in range(BATCH):
            self._batch.n_seq_id[index] = 1
            self._batch.seq_id[index][0] = 0
        self._fed: list[int] = []
        self.context = context
        self.vocabulary = int(api.llama_vocab_n_tokens(self._words))
        if self.vocabulary < 1:
            raise ValueError("the model has no vocabulary")
        self.batch = BATCH
        self.rows = max(1, min(BATCH, SCORED // (4 * self.vocabulary)))
        self.ends = frozenset(
            each for each in range(self.vocabulary) if api.llama_vocab_is_eog(self._words, each)
        )
        self._pieces: list[bytes] = []

    def pieces(self) -> Sequence[bytes]:
        """See ``answer.Engine``."""
        if not self._pieces:
            room = ctypes.create_string_buffer(4096)
            for each in range(self.vocabulary):
                size = api.llama_token_to_piece(self._words, each, room, len(room), 0, False)
                self._pieces.append(room.raw[: max(size, 0)])
        return self._pieces

    def start(self) -> None:
        """See ``answer.Engine``."""
        api.llama_memory_clear(self._memory, False)
        self._fed = []

    def feed(self, tokens: Sequence[int], rows: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """See ``answer.Engine``."""
        batch, place = self._batch, len(self._fed)
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = place + index
            batch.logits[index] = index >= len(tokens) - rows
        status = api.llama_decode(self._context, batch)
        if status:
            raise ValueError(f"llama.cpp failed with status {status}")
        self._fed.extend(tokens)
        if not rows:
            return np.empty((0, self.vocabulary), np.float32)
        found = api.llama_get_logits(self._context)
        return np.ctypeslib.as_array(found, (rows, self.vocabulary))

    def keep(self, count: int) -> None:
        """See ``answer.Engine``."""
        kept = self._fed[:count]
        if api.llama_memory_seq_rm(self._memory, 0, count, -1):
            self._fed = kept
            return
        # A recurrent model remembers its last state only.
        self.start()
        for at in range(0, count, BATCH):
            self.feed(kept[at : at + BATCH], 0)
