"""Infrastructure without product knowledge: databases, HTTP to the outside, crypto, logs, clock."""
