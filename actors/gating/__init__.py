"""The gate: experiments as a fold over their log, and the one rule by which a candidate goes live or back. Pure."""
