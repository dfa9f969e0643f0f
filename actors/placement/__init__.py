"""Where work is placed: nodes, devices, fragmentation and the policies over them. Pure: no bus, no actor, no clock."""
