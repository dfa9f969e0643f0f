"""The scheduler at work: its log on the bus, its attempts, its clockwork, and how it is shown."""
