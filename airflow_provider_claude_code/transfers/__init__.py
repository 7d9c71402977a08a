"""The operators: a day of usage from the API to where it is kept."""
