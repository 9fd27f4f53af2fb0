"""A commented configuration for a scientist's own data, from what a folder holds."""
