"""From policies and the catalog to a plan."""
