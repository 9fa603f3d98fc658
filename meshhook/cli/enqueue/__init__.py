"""`meshhook enqueue`: one job from arguments, or many from a file."""
