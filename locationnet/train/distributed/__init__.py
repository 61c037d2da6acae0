"""Training on several machines, or with several workers on one: started, watched, restarted."""
