"""Many runs and evaluations as one question: a grid of choices, done once each, and one table of what came out."""
