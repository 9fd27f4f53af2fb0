"""What the tables of a study are, and how they are read and written."""
