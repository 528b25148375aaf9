"""Experiments: a scenario's causes set in a world, real sessions, evidence, a verdict."""
