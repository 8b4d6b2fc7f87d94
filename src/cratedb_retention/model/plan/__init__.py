"""The plan: steps, their effect, and the reasons for them."""
