"""What tests need and what takes minutes to make, made before them: ``python -m tests.prepare``.

A test may take two minutes, and on a bare machine llama.cpp is compiled first.
"""

from sandbox.models import build
from tests.engine import cache_folder
from tests.models import smollm_file
from workunits.models.program import Engine


def main() -> None:
    """Make or fetch what is not in the cache yet."""
    smollm_file()
    for engine in Engine:
        build.build(engine, cache_folder(), print)


if __name__ == "__main__":
    main()
