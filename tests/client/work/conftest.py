"""For the few tests here that run something for real."""

from tests.engine import docker_engine, runtime_image

__all__ = ["docker_engine", "runtime_image"]
