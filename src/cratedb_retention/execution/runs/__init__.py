"""Runs: leases, events, entries of the audit log, results."""
