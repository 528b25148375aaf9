"""Effects on one network namespace: thin, typed, no decisions. Recipes and their traps are
described in each module; each kernel fact has a root test in `tests/kernel`."""
