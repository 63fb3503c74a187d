"""For the few tests here that run something for real."""

from tests.engine import docker_engine, runtime_image
from tests.models import llama_image, smollm

__all__ = ["docker_engine", "llama_image", "runtime_image", "smollm"]
