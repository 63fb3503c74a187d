"""What cheats gain and what catching them costs: real decisions, virtual time, seeded chance."""
