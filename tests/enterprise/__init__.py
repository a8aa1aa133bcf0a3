"""The whole evented stack in its own processes on real servers."""
