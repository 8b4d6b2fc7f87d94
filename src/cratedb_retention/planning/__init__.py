"""Decisions: pure functions from policies, catalog, holds, measurements and cutoff to a plan. No database, no clock."""
