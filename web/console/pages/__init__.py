"""The pages: a module for each part, with its forms on top and its views below."""
