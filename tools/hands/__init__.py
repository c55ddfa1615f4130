"""The demo of hands: where frames come from, stages that work at the same time, drawing, a window and a page."""
