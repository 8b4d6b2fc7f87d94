"""The archive: its page, and what pages say of snapshots and do with them."""
