"""The scripts: one command each, run from the checkout as python -m experiments.NAME."""
