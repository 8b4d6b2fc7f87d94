"""Policies: their attributes, how they are written, and what they apply to."""
