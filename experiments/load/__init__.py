"""Load on a service, and kills."""
