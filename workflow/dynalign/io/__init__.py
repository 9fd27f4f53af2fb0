"""Files: whole or not at all, never unpickled."""
