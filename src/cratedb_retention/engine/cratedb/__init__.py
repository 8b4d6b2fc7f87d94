"""CrateDB: the main engine."""
