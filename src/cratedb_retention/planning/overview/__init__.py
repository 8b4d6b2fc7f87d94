"""All tables beside the policies on them."""
