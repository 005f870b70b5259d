"""When something happens: events from speech, their times checked and found in the picture."""
