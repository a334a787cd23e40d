"""The parts of a failover: its plan, its journal, and what it does to servers and their surroundings."""
