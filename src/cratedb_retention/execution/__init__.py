"""Gathers the facts for planning, and executes plans with retries, audit log and progress."""
