"""Levels: computed, verified and dropped."""
