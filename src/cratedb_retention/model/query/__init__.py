"""Queries: what is asked of raw rows and levels, and the answer."""
