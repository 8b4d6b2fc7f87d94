"""Configurations of Graphite and RRDtool as policy files, for people who come from there."""
