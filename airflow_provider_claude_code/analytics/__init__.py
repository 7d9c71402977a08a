"""Metrics computed from the tables: queries in GoogleSQL, and the engines that run them."""
