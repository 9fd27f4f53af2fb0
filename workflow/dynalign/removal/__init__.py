"""Removing linguistic properties from vectors, and probing for them."""
