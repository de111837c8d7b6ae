"""Other libraries doing the same work: one script each, run by experiments.benchmark in an environment of its own."""
