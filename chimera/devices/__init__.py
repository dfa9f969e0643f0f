"""What a node can lend: its GPUs through NVML, its processors and memory; every reading is optional."""
