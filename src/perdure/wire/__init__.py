"""Between bytes and the model, without any I/O: one module for each format."""
