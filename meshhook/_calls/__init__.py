"""A pure builder for each RPC, in a module for each kind of work."""
