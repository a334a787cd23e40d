"""A rehearsed disaster: scenarios, the environment they run in, the faults, and what is recorded."""
