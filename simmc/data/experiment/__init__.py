"""From stored splits to what a method trains on."""
