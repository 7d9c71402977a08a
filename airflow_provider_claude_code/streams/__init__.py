"""The reports and lists of the API that are loaded, a folder each."""
