"""The SQL of MeshHook, one topic a file, and what puts it together."""
