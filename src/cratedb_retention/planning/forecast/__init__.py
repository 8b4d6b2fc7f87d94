"""Forecasts: the planner in a loop, over a catalog that grows as it did in the recent past."""
