"""Running untrusted work: the Docker runner, its profile, its warm containers, its engine."""
