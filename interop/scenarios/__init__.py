"""The scenarios, one module per concept. Each module registers its own (interop.scenario)."""
