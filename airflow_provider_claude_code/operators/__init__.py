"""Operators that work on loaded usage."""
