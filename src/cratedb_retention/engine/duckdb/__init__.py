"""DuckDB: an embedded file, for evaluation, tests and edge devices."""
