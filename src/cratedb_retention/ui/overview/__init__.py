"""The overview of all tables, and the page of one."""
