"""``quantise.py FTYPE LAYER``: another version of /job/model.gguf, as /out/variant.gguf.

Runs in an engine image, as a unit of work. ``FTYPE`` is a ``llama_ftype``; ``LAYER`` is left out,
-1 for none of them.
"""

import ctypes
import sys

sys.path.insert(0, "/opt/engine/site")

from llama_cpp import llama_cpp as api


def main(ftype: int, layer: int) -> int:
    """Write it; the exit status."""
    settings = api.llama_model_quantize_default_params()
    settings.nthread = 1
    settings.ftype = ftype
    settings.allow_requantize = True
    if layer >= 0:
        layers = (ctypes.c_int32 * 2)(layer, -1)
        settings.prune_layers = ctypes.cast(layers, ctypes.POINTER(ctypes.c_int32))
    made = api.llama_model_quantize(b"/job/model.gguf", b"/out/variant.gguf", settings)
    return 1 if made else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
