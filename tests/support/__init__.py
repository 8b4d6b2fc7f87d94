"""What tests share: real databases, and how to talk to them without the code under test."""
