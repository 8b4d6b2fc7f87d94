"""The overview of all tables, and the timeline of one."""
