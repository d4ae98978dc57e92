"""The resources of the API, by their names."""
