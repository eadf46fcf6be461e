"""Learned electronic forces: exact data, training, the file of a network, and what its errors are."""
