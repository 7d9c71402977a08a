"""The hook that owns the Connection."""
