"""Which windows of a level are due, and what may expire below them."""
