"""Rollups: aggregates, cascades, levels and the ledger."""
