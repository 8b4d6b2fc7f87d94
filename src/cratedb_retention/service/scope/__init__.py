"""What somebody with an access token can do, in parts; ``service/scoped.py`` has all of it."""
