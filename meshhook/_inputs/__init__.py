"""Checks and encoding of what a caller gives, before anything is sent."""
