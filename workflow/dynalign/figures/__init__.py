"""Drawing: the numbers come from statistics."""
