"""The engine: how any method is trained, continued and evaluated."""
