"""Messages to workers: hints that there is work, which the tables hold."""
