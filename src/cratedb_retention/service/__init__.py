"""The service: scheduler, HTTP API, metrics, notifications, settings."""
