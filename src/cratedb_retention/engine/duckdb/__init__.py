"""DuckDB: an embedded file, for trying out, testing and the edge."""
