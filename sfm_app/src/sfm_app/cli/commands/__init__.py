"""The commands, by theme. A module is imported when one of its commands is named."""
