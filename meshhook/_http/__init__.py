"""Sending calls to Supabase over HTTP, and reading the answers."""
