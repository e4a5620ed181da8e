"""What was found: detections, poses, labels, how they agree with the truth, files of them."""
