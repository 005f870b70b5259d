"""One video at several lengths: which segment lies in which, and texts made from texts below."""
