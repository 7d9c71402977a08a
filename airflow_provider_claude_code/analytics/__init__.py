"""Answers from the tables: queries in GoogleSQL, and where they are run."""
