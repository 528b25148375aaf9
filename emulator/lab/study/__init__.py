"""Many runs towards one answer: what would save a connection, what survives."""
