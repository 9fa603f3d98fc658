"""Checks of what a caller passes, and how it is encoded, before anything is sent."""
