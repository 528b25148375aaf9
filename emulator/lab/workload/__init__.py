"""Real programs with byte-checked conversations, and the servers they talk to."""
