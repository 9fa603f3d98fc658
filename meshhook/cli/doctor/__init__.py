"""`meshhook doctor`: looking a project over, without changing anything."""
