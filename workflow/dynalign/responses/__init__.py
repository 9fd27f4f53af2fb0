"""What was measured while subjects read."""
