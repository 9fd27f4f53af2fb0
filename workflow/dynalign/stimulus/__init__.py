"""The story: its words in time, their parse, their linguistic properties."""
