"""Rollups in SQL."""
