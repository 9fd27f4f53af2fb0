"""Predicting every voxel from vectors of words."""
