"""Random histories of tables, played and checked; used by ``test_exactness.py`` alone."""
