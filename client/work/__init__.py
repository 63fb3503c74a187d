"""What a volunteer does: its session, its cells, its results on disk."""
