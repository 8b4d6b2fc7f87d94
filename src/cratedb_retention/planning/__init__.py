"""Deciding: pure functions from (policies, catalog, holds, measurements, cutoff) to a plan. No database, no clock."""
