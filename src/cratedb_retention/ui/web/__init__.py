"""What server-rendered pages are made of: markup, the frame of a page, its parts, and the lanes of a table."""
