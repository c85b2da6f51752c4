"""What an encoded image is: the one reading of image files for whatever writes, verifies and evaluates."""
