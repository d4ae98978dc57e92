"""The OpenAI-compatible route, called by the official client."""
