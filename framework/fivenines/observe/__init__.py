"""Subscribers of events: logs. The only part that knows how a replica is watched."""
