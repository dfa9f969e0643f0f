"""The optimizer actor's parts: it feeds on outcomes and judgements, and acts through the agent actor only."""
