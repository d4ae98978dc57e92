"""What the platform costs and how it grows: `make bench`, and docs/performance.md."""
