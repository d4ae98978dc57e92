"""What an invocation is, and everything that may happen to it. Web and worker are two ways to call it."""
