"""Policies and tables with their state, and the timeline of a table."""
