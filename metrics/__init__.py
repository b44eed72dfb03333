"""Metrics: a folder is a module for `evaluate` that loads offline, a file is plain functions."""
