"""A scenario as pure values: the causes an experiment sets."""
