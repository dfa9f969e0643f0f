"""The scheduler's brain: pure decisions about tasks. No bus, no actor, no clock: the time is always an argument."""
