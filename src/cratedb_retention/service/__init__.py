"""Runs by itself what is due: schedules, leases, workers."""
