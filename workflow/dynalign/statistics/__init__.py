"""Tests, intervals and summaries of scores."""
