"""What the field computes about transformers: one module per technique, pure functions, tensors in, tensors out.

    from interpwidgets.methods.induction import prefix_matching_score

Every function says where it comes from, works on any device, and leaves its arguments as they were. Patterns have one
shape throughout: [layer, batch, head, query, key], which is what ``tap["pattern"]`` gives.
"""
