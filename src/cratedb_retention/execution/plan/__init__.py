"""Gathering what planning needs, and previews."""
