"""The toolkit as a service: its HTTP API, metrics, notifications, settings."""
