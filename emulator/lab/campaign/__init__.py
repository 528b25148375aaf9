"""Failovers at random points of live traffic, every byte compared."""
