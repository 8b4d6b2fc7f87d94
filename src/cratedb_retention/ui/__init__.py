"""The pages of `serve`: a cockpit in the browser, with a policy editor. No logic of their own."""
