"""Decisions: do these results agree, what happens to a unit next, who is drawn to check it."""
