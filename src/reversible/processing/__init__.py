"""How does raw input become what a model's graph takes, at the destination, without the vendor's software?"""
