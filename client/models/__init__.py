"""Models on this machine: where files come from, what is said of them, how they are put up."""
