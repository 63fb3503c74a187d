"""``python -m openswarm`` is ``swarm``."""

from openswarm.cli import main

if __name__ == "__main__":
    main()
