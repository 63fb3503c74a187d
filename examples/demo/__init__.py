"""``make demo``: a whole swarm on one machine, with a cheat in it."""
