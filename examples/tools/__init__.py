"""Real tools with their models inside: a separate HTTP service, `python -m examples.tools`."""
