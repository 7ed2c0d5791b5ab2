"""The values that everything speaks of: records, positions, batches, names, configurations, limits."""
