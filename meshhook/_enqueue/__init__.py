"""Enqueueing many jobs: batches, their chunks, and the buffer. Nothing is sent here."""
