"""What a volunteer decides: pure, events in and commands out."""
