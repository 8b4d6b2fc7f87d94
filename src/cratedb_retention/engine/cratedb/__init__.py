"""CrateDB: the engine that the toolkit is for."""
