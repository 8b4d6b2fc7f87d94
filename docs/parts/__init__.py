"""The parts of the documentation that follow from the program, one module for each."""
