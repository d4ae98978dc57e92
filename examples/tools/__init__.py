"""Example tools with real models: a separate HTTP service, `python -m examples.tools`."""
