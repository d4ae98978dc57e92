"""The version of this package, which is not that of the API."""

VERSION = "0.1.0"
