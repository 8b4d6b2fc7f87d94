"""The facts for planning, and previews."""
