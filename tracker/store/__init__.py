"""The store: all SQL of the tracker. One thread writes, everybody else reads."""
