"""The least code that could do each job on the same servers: what the platform adds is seen beside it."""
