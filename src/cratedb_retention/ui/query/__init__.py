"""The pages that read data."""
