"""The operators that load days of usage from the API into a target."""
