"""Durable background jobs on Supabase."""
