"""Reading raw rows, levels and timelines."""
