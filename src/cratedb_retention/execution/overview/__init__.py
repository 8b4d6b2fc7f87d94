"""What is kept where, what is due, and the timeline of a table."""
