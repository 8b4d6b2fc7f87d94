"""The toolkit's own tables: reads and writes policies, the audit log, holds and more; decides nothing."""
