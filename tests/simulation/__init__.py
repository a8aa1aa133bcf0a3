"""The evented pipeline in virtual time over backends that repeat, delay, fail, hang and forget, all from one seed."""
