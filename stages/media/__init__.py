"""Everything that touches ffmpeg or PyAV."""
