"""The stream store: the sequencing decision, the engines that keep streams, and the operations on them."""
