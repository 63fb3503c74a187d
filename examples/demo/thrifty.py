"""A volunteer that cheats: it answers prompts from a smaller quantisation of the model, which takes
less memory and time. For demo and tests only.

``THRIFTY_MODEL`` is the file that it runs instead. Takes the arguments of ``swarm``:
``python -m examples.demo.thrifty volunteer --tracker URL``.
"""

import os
from dataclasses import replace
from pathlib import Path

import sandbox.containers
from openswarm.cli import main
from sandbox.containers import DockerSandbox
from sandbox.models.cell import DockerModelCell
from sandbox.models.runtime import ModelSpec

VARIABLE = "THRIFTY_MODEL"


class ThriftySandbox(DockerSandbox):
    """A real sandbox that runs another model than it was told to."""

    async def serve(self, spec: ModelSpec) -> DockerModelCell:
        """Serve the smaller file."""
        return await super().serve(replace(spec, model=Path(os.environ[VARIABLE])))


if __name__ == "__main__":
    sandbox.containers.DockerSandbox = ThriftySandbox  # type: ignore[misc]
    main()
