"""Jobs to try, and the demo that runs them on a swarm of its own."""
