"""Carrying out a plan: leases, events, the audit log, results."""
