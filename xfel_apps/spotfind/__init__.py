"""Find Bragg spots on every shot and tell hits from misses."""
