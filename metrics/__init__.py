"""Modules for `evaluate`, each a folder that loads offline and can be imported plainly."""
