"""The outside world, ours to command: a misbehaving tool and a receiver of webhooks, over real HTTP on loopback."""
