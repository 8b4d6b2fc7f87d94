"""What runs for long: schedules and workers, the HTTP API, metrics, notifications, settings."""
