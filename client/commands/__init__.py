"""The commands of ``swarm``: one file for a command or for what it is about."""
