"""The whole evented stack on one machine, without containers: for development and for the tests of the stack."""
