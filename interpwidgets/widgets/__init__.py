"""Pictures you can touch: arrays in, selection out. Nothing here imports torch at module level."""
