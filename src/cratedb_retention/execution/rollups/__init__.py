"""Computing levels, verifying and dropping them."""
