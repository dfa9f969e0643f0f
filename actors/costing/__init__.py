"""What resources cost, in money and joules, and what would cost less: pure decisions. Time is always an argument."""
