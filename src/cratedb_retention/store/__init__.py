"""The toolkit's own tables: policies, the journal, holds, snapshots. Reads and writes them; decides nothing."""
