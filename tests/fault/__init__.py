"""Faults on real servers: processes and servers are killed and frozen under load, and all that was acknowledged is compared."""
