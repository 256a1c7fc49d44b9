"""A transformer you can open: load it, name its sites, read them, edit them, patch them."""
