"""Faults on real servers: processes and servers are killed, frozen and restarted under load, and an oracle compares all that was acknowledged."""
