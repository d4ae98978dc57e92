"""The development platform: private servers, a supervisor, `make run`. Production imports nothing from here."""
