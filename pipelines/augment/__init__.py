"""What is done to an image: the plan of randomness, and who carries it out."""
