"""What documents show that the code can say by itself: pictures of the flows, the API reference."""
