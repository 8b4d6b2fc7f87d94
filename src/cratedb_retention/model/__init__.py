"""Plain data: policies, durations, the catalog, the plan. No I/O, no clock, no environment."""
