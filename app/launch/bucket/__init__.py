"""A bucket that speaks S3, as far as images need it: objects of any size that appear whole or not at all."""
