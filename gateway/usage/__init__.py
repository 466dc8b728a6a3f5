"""What requests took: records, their sums, and what clients and administrators see of them."""
