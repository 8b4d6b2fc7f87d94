"""Doing: gathers what planning needs, and runs a plan with batches, retries, journal and progress."""
