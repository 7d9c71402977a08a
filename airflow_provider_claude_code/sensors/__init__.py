"""The sensor that waits for a day to be complete."""
