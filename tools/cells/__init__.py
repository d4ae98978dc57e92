"""Where the platform's first bottleneck lies at each step of `docs/scaling.md`: a simulation of its queues."""
