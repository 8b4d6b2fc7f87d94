"""
A bench of small deliberate faults: each breaks a promise of this toolkit, and the tests have to notice it.

``make mutants`` applies each fault of ``faults/*.toml`` to a copy of the project and runs the tests that should fail.
"""
