"""Training on machines of AWS, and serving from them."""
