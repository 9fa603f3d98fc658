"""`meshhook worker` and `meshhook drain`."""
