"""Queries of raw rows and levels, and their answers."""
