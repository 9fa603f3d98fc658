"""Enqueueing many jobs: batches, chunks of a batch, and the buffer. No sending."""
