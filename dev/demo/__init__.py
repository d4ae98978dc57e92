"""`make demo`: the whole platform on real input, watched from outside through its public HTTP API."""
