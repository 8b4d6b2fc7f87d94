"""Which windows of which level are due, and what may expire below them."""
