"""What the service does: `account` and `orders` need a session, `prices` is open to all."""
