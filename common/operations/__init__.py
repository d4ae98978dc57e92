"""What operators need (checks of the ledger, doctor, gauges, readiness, roles, key rotation), and whole accounts."""
