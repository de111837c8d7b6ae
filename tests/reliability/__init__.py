"""Whether a run survives what happens to it: python -m tests.reliability; see RELIABILITY.md."""
