"""The existing rollups, and the ledger of their windows."""
