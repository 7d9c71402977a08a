"""Files and bytes: local directories and object stores."""
