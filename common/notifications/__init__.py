"""Mails: recorded with what they tell of, sent later by a worker."""
