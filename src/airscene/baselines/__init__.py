"""Models that AIR is compared with, one file each, and the probes that read a count from them."""
